import fc from 'fast-check';
import * as reference from 'simple-statistics';
import { describe, expect, it } from 'vitest';
import { mean, median, percentile, summarize, tInterval, variance } from './summary.ts';

const samples = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 40 });

describe('against simple-statistics', () => {
  it('mean, median and variance agree', () => {
    fc.assert(
      fc.property(samples, (values) => {
        const scale = Math.max(1, ...values.map(Math.abs));
        expect(Math.abs(mean(values) - reference.mean(values)) / scale).toBeLessThan(1e-12);
        expect(Math.abs(median(values) - reference.median(values)) / scale).toBeLessThan(1e-12);
        expect(Math.abs(variance(values) - reference.sampleVariance(values)) / scale ** 2).toBeLessThan(1e-12);
      }),
    );
  });
});

describe('percentile', () => {
  it('interpolates between ranks', () => {
    expect(percentile([10, 20, 30, 40], 0.5)).toBe(25);
    expect(percentile([10, 20, 30, 40, 50], 0.9)).toBeCloseTo(46, 12);
    expect(percentile([3, 1, 2], 0)).toBe(1);
    expect(percentile([3, 1, 2], 1)).toBe(3);
    expect(percentile([], 0.5)).toBeNaN();
  });

  it('never leaves the range, and grows with the share', () => {
    fc.assert(
      fc.property(
        samples,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, a, b) => {
          const low = percentile(values, Math.min(a, b));
          const high = percentile(values, Math.max(a, b));
          expect(low).toBeGreaterThanOrEqual(Math.min(...values));
          expect(high).toBeLessThanOrEqual(Math.max(...values));
          expect(low).toBeLessThanOrEqual(high + 1e-9 * Math.abs(high));
        },
      ),
    );
  });
});

describe('tInterval', () => {
  it('matches a textbook example', () => {
    // mean 5, standard deviation 1.5811, n 5: half width 2.7764 * 1.5811 / sqrt(5) = 1.9632.
    const [low, high] = tInterval([3, 4, 5, 6, 7]) ?? [0, 0];
    expect(low).toBeCloseTo(3.0368, 4);
    expect(high).toBeCloseTo(6.9632, 4);
  });

  it('knows nothing with one sample', () => {
    expect(tInterval([4])).toBeNull();
    expect(summarize([4])).toEqual({ mean: 4, median: 4, ci95: null, n: 1 });
  });
});

describe('summarize', () => {
  it('leaves out what is not finite', () => {
    expect(summarize([1, Number.NaN, 3, Number.POSITIVE_INFINITY])).toMatchObject({ mean: 2, median: 2, n: 2 });
    expect(summarize([Number.NaN])).toBeUndefined();
  });
});
