import type { Param } from '@llmopt/core';

// Rows of a weight are read in parts of so many numbers.
const PART = 2 ** 22;

/**
 * The norms of the columns of weights `[outputs, width]` that share an input, all stacked: how much each input channel can weigh, as a vector
 * of `width` numbers. Summed in float64, when it is read.
 */
export function columnNorms(weights: readonly Param[]): Param {
  const width = weights[0]!.shape[1]!;
  return {
    shape: [width],
    key: JSON.stringify(['larosa', 'column norms', weights.map(({ key }) => key)]),
    async read([from, to] = [0, width]) {
      const squares = new Float64Array(width);
      for (const weight of weights) await addSquares(weight, squares);
      return Float32Array.from(squares.subarray(from, to), Math.sqrt);
    },
  };
}

async function addSquares(weight: Param, squares: Float64Array): Promise<void> {
  const [outputs, width] = weight.shape as [number, number];
  const step = Math.max(1, Math.floor(PART / width));
  for (let first = 0; first < outputs; first += step) {
    const rows = await weight.read([first, Math.min(first + step, outputs)]);
    for (let at = 0; at < rows.length; at += width) {
      for (let channel = 0; channel < width; channel++) squares[channel]! += rows[at + channel]! ** 2;
    }
  }
}
