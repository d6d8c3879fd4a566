import type { Param } from '@llmopt/core';
import { expect, it } from 'vitest';
import { columnNorms } from './columnNorms.ts';

const matrix = (key: string, rows: number[][]): Param => ({
  shape: [rows.length, rows[0]!.length],
  key,
  read: async ([from, to] = [0, rows.length]) => Float32Array.from(rows.slice(from, to).flat()),
});

it('has the norm of each column over all weights', async () => {
  const norms = columnNorms([
    matrix('a', [
      [3, 0, 1],
      [0, 0, 2],
    ]),
    matrix('b', [[4, 0, -2]]),
  ]);
  expect(norms.shape).toEqual([3]);
  expect([...(await norms.read())]).toEqual([5, 0, 3]);
  expect([...(await norms.read([1, 3]))]).toEqual([0, 3]);
});

it('is told apart by its weights', () => {
  const [a, b] = [matrix('a', [[1]]), matrix('b', [[1]])];
  expect(columnNorms([a]).key).not.toBe(columnNorms([b]).key);
  expect(columnNorms([a, b]).key).not.toBe(columnNorms([a]).key);
});
