import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareRows, lossOf } from './compareRows.ts';

const rows = fc
  .integer({ min: 2, max: 50 })
  .chain((length) =>
    fc.tuple(
      fc.float32Array({ minLength: length, maxLength: length, min: -40, max: 40, noNaN: true }),
      fc.float32Array({ minLength: length, maxLength: length, min: -40, max: 40, noNaN: true }),
      fc.nat({ max: length - 1 }),
    ),
  );

/** Straight from the definitions, in float64. */
function softmax(logits: Float32Array): number[] {
  const max = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp(logit - max));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

describe('compareRows', () => {
  it('equals the definitions', () => {
    fc.assert(
      fc.property(rows, ([a, b, target]) => {
        const p = softmax(a);
        const q = softmax(b);
        const score = compareRows(a, b, target);
        expect(score.lossA).toBeCloseTo(-Math.log(p[target] as number), 9);
        expect(score.lossB).toBeCloseTo(-Math.log(q[target] as number), 9);
        const divergence = p.reduce((sum, pi, i) => sum + (pi > 0 ? pi * Math.log(pi / (q[i] as number)) : 0), 0);
        expect(score.divergence).toBeCloseTo(divergence, 9);
        expect(score.sameTop).toBe(a.indexOf(Math.max(...a)) === b.indexOf(Math.max(...b)));
        expect(lossOf(b, target)).toBeCloseTo(score.lossB, 12);
      }),
    );
  });

  it('is zero for equal rows, and for rows that differ by a constant', () => {
    fc.assert(
      fc.property(rows, ([a, , target]) => {
        // A shift of 8 is exact in float32 only nearly: values up to 48 are rounded to 2^-19.
        expect(compareRows(a, a, target)).toMatchObject({ divergence: 0, sameTop: true });
        expect(
          compareRows(
            a,
            a.map((logit) => logit + 8),
            target,
          ).divergence,
        ).toBeLessThan(1e-5);
      }),
    );
  });

  it('gives forbidden tokens no weight', () => {
    const a = Float32Array.of(0, Number.NEGATIVE_INFINITY, 0);
    const score = compareRows(a, Float32Array.of(0, Number.NEGATIVE_INFINITY, 0), 0);
    expect(score.divergence).toBe(0);
    expect(score.lossA).toBeCloseTo(Math.LN2, 12);
  });
});
