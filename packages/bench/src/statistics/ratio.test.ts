import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRandom } from './random.ts';
import { pairedRatio, verdictOf, welchRatio } from './ratio.ts';

const positive = fc.double({ min: 0.1, max: 1e3, noNaN: true });

describe('pairedRatio', () => {
  it('takes the geometric mean of the pairs', () => {
    const ratio = pairedRatio([
      [2, 1],
      [8, 1],
    ]);
    expect(ratio?.mean).toBeCloseTo(4, 12);
    expect(ratio?.n).toBe(2);
    expect(verdictOf({ ci95: ratio?.ci95 ?? null })).toBe('no difference shown');
  });

  it('is exact where every pair has the same ratio, however the pairs differ among themselves', () => {
    const ratio = pairedRatio([
      [3, 2],
      [30, 20],
      [0.3, 0.2],
    ]);
    expect(ratio?.mean).toBeCloseTo(1.5, 12);
    expect(ratio?.ci95?.[0]).toBeCloseTo(1.5, 9);
    expect(verdictOf({ ci95: ratio?.ci95 ?? null })).toBe('higher');
  });

  it('turns into its reciprocal when the arms are swapped', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(positive, positive), { minLength: 2, maxLength: 20 }), (pairs) => {
        const forward = pairedRatio(pairs);
        const backward = pairedRatio(pairs.map(([a, b]) => [b, a] as const));
        expect((forward?.mean ?? 0) * (backward?.mean ?? 0)).toBeCloseTo(1, 9);
        expect(Math.log(forward?.ci95?.[0] ?? 0)).toBeCloseTo(-Math.log(backward?.ci95?.[1] ?? 0), 6);
      }),
    );
  });

  it('leaves out pairs without a ratio', () => {
    expect(
      pairedRatio([
        [1, 0],
        [Number.NaN, 1],
        [2, 1],
      ])?.n,
    ).toBe(1);
    expect(pairedRatio([[0, 0]])).toBeUndefined();
  });

  it('covers the true ratio in about 95 % of experiments', () => {
    const random = createRandom(7);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    let covered = 0;
    for (let experiment = 0; experiment < 2000; experiment++) {
      const pairs = Array.from({ length: 6 }, () => [1.3 * Math.exp(0.1 * normal()), 1] as const);
      const [low, high] = pairedRatio(pairs)?.ci95 ?? [1, 1];
      if (low < 1.3 && high > 1.3) covered++;
    }
    // Standard deviation of the share is 0.5 %: three of them on each side.
    expect(covered / 2000).toBeGreaterThan(0.935);
    expect(covered / 2000).toBeLessThan(0.965);
  });
});

describe('welchRatio', () => {
  it('agrees with a worked example', () => {
    // Logs 1..5 and 2, 4, 6: difference -1, error 0.5 + 4/3, degrees 1.8333² / (0.25/4 + 1.7778/2) = 3.5328,
    // critical value 2.9300 (interpolated independently from tables: 3.182 at 3 and 2.776 at 4).
    const ratio = welchRatio([1, 2, 3, 4, 5].map(Math.exp), [2, 4, 6].map(Math.exp));
    expect(Math.log(ratio?.mean ?? 0)).toBeCloseTo(-1, 12);
    const half = (Math.log(ratio?.ci95?.[1] ?? 0) - Math.log(ratio?.ci95?.[0] ?? 0)) / 2;
    expect(half / Math.sqrt(0.5 + 4 / 3)).toBeGreaterThan(2.776);
    expect(half / Math.sqrt(0.5 + 4 / 3)).toBeLessThan(3.182);
  });

  it('has Student degrees of freedom when both sides are alike', () => {
    // Equal sizes and variances: 2n - 2 = 8 degrees, critical value 2.306.
    const ratio = welchRatio([1, 2, 3, 4, 5].map(Math.exp), [2, 3, 4, 5, 6].map(Math.exp));
    const half = (Math.log(ratio?.ci95?.[1] ?? 0) - Math.log(ratio?.ci95?.[0] ?? 0)) / 2;
    expect(half).toBeCloseTo(2.306, 3);
  });

  it('is 1 for a set against itself and needs samples on both sides', () => {
    expect(welchRatio([1, 2, 3], [1, 2, 3])?.mean).toBeCloseTo(1, 12);
    expect(welchRatio([], [1])).toBeUndefined();
  });
});

describe('verdictOf', () => {
  it('says what the interval allows', () => {
    expect(verdictOf({ ci95: [1.01, 1.2] })).toBe('higher');
    expect(verdictOf({ ci95: [0.8, 0.99] })).toBe('lower');
    expect(verdictOf({ ci95: [0.9, 1.2] })).toBe('no difference shown');
    expect(verdictOf({ ci95: [1, 1.2] })).toBe('no difference shown');
    expect(verdictOf({ ci95: null })).toBe('no difference shown');
  });
});
