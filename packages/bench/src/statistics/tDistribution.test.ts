import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tCritical, twoSidedTail } from './tDistribution.ts';

describe('tCritical', () => {
  // Published tables, three decimals.
  it.each([
    [1, 0.95, 12.706],
    [2, 0.95, 4.303],
    [3, 0.95, 3.182],
    [4, 0.95, 2.776],
    [9, 0.95, 2.262],
    [19, 0.95, 2.093],
    [30, 0.95, 2.042],
    [120, 0.95, 1.98],
    [5, 0.99, 4.032],
    [10, 0.9, 1.812],
  ])('%i degrees at %d is %d', (degrees, confidence, expected) => {
    expect(tCritical(degrees, confidence)).toBeCloseTo(expected, 3);
  });

  it('has closed forms for one and two degrees', () => {
    expect(tCritical(1)).toBeCloseTo(Math.tan((Math.PI * 0.95) / 2), 9);
    expect(tCritical(2)).toBeCloseTo(0.95 * Math.sqrt(2 / (1 - 0.95 ** 2)), 9);
  });

  it('tends to the normal distribution', () => {
    expect(tCritical(1e6)).toBeCloseTo(1.95996, 4);
  });

  it('knows nothing without a degree of freedom', () => {
    expect(tCritical(0)).toBe(Number.POSITIVE_INFINITY);
    expect(tCritical(Number.NaN)).toBe(Number.POSITIVE_INFINITY);
  });

  it('inverts the tail for fractional degrees too', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0.7, max: 400, noNaN: true }),
        fc.double({ min: 0.5, max: 0.999, noNaN: true }),
        (degrees, confidence) => {
          expect(twoSidedTail(tCritical(degrees, confidence), degrees)).toBeCloseTo(1 - confidence, 9);
        },
      ),
    );
  });
});
