import { describe, expect, it } from 'vitest';
import { createRandom } from '../statistics/random.ts';
import { createCaches } from './cache.ts';

const shape = { heads: 4, kvHeads: 2, headDim: 16, layers: 2 };

describe('attention through a block table', () => {
  it.each([1, 3, 16, 17, 100, 256])('gives the bits of dense attention at %i tokens', (length) => {
    const { dense, paged } = createCaches(shape, length, length);
    const expected = dense();
    expect(expected.some((value) => value !== 0)).toBe(true);
    expect(paged()).toEqual(expected);
  });

  it('also where three heads share their keys, as those of a pair do not', () => {
    const { dense, paged } = createCaches({ ...shape, heads: 9, kvHeads: 3 }, 50);
    expect(paged()).toEqual(dense());
  });

  it.each([1, 20, 64])('is attention, at %i tokens', (length) => {
    const { heads, kvHeads, headDim } = shape;
    const seed = 5;
    const output = createCaches({ ...shape, layers: 1 }, length, seed).dense();
    // The numbers that the caches were filled with: blocks [kvHeads, 16, headDim] of keys, then of values, then the query.
    const random = createRandom(seed);
    const size = Math.ceil(length / 16) * kvHeads * 16 * headDim;
    const draw = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);
    const [keys, values, query] = [draw(size), draw(size), draw(heads * headDim)];
    const rowOf = (numbers: Float32Array, head: number, token: number) => {
      const at = ((Math.floor(token / 16) * kvHeads + head) * 16 + (token % 16)) * headDim;
      return numbers.subarray(at, at + headDim);
    };
    const dot = (a: Float32Array, b: Float32Array) =>
      a.reduce((sum, value, index) => sum + value * (b[index] as number), 0);
    for (let head = 0; head < heads; head++) {
      const kvHead = Math.floor(head / (heads / kvHeads));
      const own = query.subarray(head * headDim, (head + 1) * headDim);
      const weights = Array.from({ length }, (_, token) =>
        Math.exp(dot(own, rowOf(keys, kvHead, token)) / Math.sqrt(headDim)),
      );
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let index = 0; index < headDim; index++) {
        const expected = weights.reduce(
          (sum, weight, token) => sum + weight * (rowOf(values, kvHead, token)[index] as number),
          0,
        );
        // float32, and an exponential that is good to a few units in the last place.
        expect(output[head * headDim + index]).toBeCloseTo(expected / total, 5);
      }
    }
  });
});
