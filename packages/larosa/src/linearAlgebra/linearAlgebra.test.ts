import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomBasis } from '../rotation/basis.ts';
import { eigenvectors } from './eigenvectors.ts';
import { addRows, createMoments, symmetric } from './moments.ts';
import { product, transposed } from './product.ts';

const size = fc.integer({ min: 1, max: 70 });
const numbers = (length: number, seed: number) => Float64Array.from({ length }, (_, i) => Math.sin(seed + i * i));

/** Largest number of QᵀQ − I. */
function skew(q: Float64Array, width: number): number {
  return product(transposed(q, width), q, width).reduce(
    (most, x, i) => Math.max(most, Math.abs(x - Number(i % (width + 1) === 0))),
    0,
  );
}

it('multiplies matrices of any size as plain loops do', () => {
  fc.assert(
    fc.property(size, size, size, fc.integer(), (rows, inner, columns, seed) => {
      const left = numbers(rows * inner, seed);
      const right = Float32Array.from(numbers(inner * columns, seed + 1));
      const out = product(left, right, inner);
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < columns; j++) {
          let sum = 0;
          for (let k = 0; k < inner; k++) sum += left[i * inner + k]! * right[k * columns + j]!;
          expect(Math.abs(out[i * columns + j]! - sum)).toBeLessThan(1e-12);
        }
      }
    }),
    { numRuns: 30 },
  );
});

it('adds up the moments of rows that come in parts', () => {
  fc.assert(
    fc.property(size, size, size, fc.integer(), (width, some, more, seed) => {
      const moments = createMoments(width);
      const rows = numbers((some + more) * width, seed);
      addRows(moments, rows.subarray(0, some * width));
      addRows(moments, rows.subarray(some * width));
      const expected = product(transposed(rows, width), rows, some + more);
      for (const [i, x] of symmetric(moments.sums, width).entries())
        expect(Math.abs(x - expected[i]!)).toBeLessThan(1e-11);
      expect(moments.rows).toBe(some + more);
    }),
    { numRuns: 30 },
  );
});

describe('eigenvectors', () => {
  it('are orthogonal, diagonalise the matrix, and come by falling eigenvalue', () => {
    const width = 96;
    const rows = numbers(width * 200, 3);
    const matrix = product(transposed(rows, width), rows, 200);
    const q = eigenvectors(matrix, width);
    expect(skew(q, width)).toBeLessThan(1e-10);
    const diagonal = product(product(transposed(q, width), matrix, width), q, width);
    const largest = diagonal[0]!;
    for (let i = 0; i < width; i++) {
      if (i > 0) expect(diagonal[i * (width + 1)]!).toBeLessThanOrEqual(diagonal[(i - 1) * (width + 1)]! + 1e-9);
      for (let j = 0; j < width; j++)
        if (i !== j) expect(Math.abs(diagonal[i * width + j]!) / largest).toBeLessThan(1e-12);
    }
  });

  it('of a matrix of little rank are orthogonal too', () => {
    const row = numbers(40, 1);
    expect(skew(eigenvectors(product(row, row, 1), 40), 40)).toBeLessThan(1e-10);
  });
});

it('a random basis is orthogonal and the same for the same seed', async () => {
  const matrix = await randomBasis(65, 7).matrix();
  expect(skew(matrix, 65)).toBeLessThan(1e-10);
  expect(await randomBasis(65, 7).matrix()).toEqual(matrix);
  expect(await randomBasis(65, 8).matrix()).not.toEqual(matrix);
});
