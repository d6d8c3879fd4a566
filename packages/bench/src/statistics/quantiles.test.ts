import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { groupedQuantiles } from './quantiles.ts';
import { createRandom } from './random.ts';
import { percentile } from './summary.ts';

describe('groupedQuantiles', () => {
  it('has the values of plain percentiles, in the order that was asked for', () => {
    fc.assert(
      fc.property(fc.array(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true })), { minLength: 1 }), (groups) => {
        const [high, low] = groupedQuantiles(groups, [0.99, 0.5], { resamples: 2 });
        expect(high?.value).toEqual(percentile(groups.flat(), 0.99));
        expect(low?.value).toEqual(percentile(groups.flat(), 0.5));
      }),
    );
  });

  it('covers the median of independent samples about 95 times in 100', () => {
    const random = createRandom(1);
    let covered = 0;
    for (let round = 0; round < 200; round++) {
      const groups = Array.from({ length: 50 }, () => [random()]);
      const [low, high] = groupedQuantiles(groups, [0.5], { seed: round, resamples: 300 })[0]?.ci95 ?? [1, 0];
      if (low <= 0.5 && high >= 0.5) covered++;
    }
    // 190 expected, deviation 3.1; the percentile bootstrap of a median is a little off by itself.
    expect(covered).toBeGreaterThan(176);
    expect(covered).toBeLessThan(200);
  });

  it('is wider where the samples of a group are alike than if they were independent', () => {
    const random = createRandom(2);
    const groups = Array.from({ length: 20 }, () => {
      const level = random();
      return Array.from({ length: 30 }, () => level);
    });
    const width = ([quantile]: ReturnType<typeof groupedQuantiles>) => {
      const [low, high] = quantile?.ci95 ?? [0, 0];
      return high - low;
    };
    const alone = groups.flat().map((sample) => [sample]);
    expect(width(groupedQuantiles(groups, [0.5]))).toBeGreaterThan(2 * width(groupedQuantiles(alone, [0.5])));
  });

  it('has no interval for a single group, and no value without samples', () => {
    expect(groupedQuantiles([[1, 2, 3]], [0.5])).toEqual([{ value: 2, ci95: null }]);
    expect(groupedQuantiles([[], []], [0.5])).toEqual([{ value: Number.NaN, ci95: null }]);
  });
});
