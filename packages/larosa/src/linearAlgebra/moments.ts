import { dots, type Numbers } from './dots.ts';
import { transposed } from './product.ts';

/** Uncentred second moments of rows: the upper triangle of Σ xᵀx, `[width (width + 1) / 2]` float64, row by row. */
export interface Moments {
  readonly width: number;
  readonly sums: Float64Array;
  rows: number;
}

export function createMoments(width: number): Moments {
  return { width, sums: new Float64Array((width * (width + 1)) / 2), rows: 0 };
}

/** Adds rows `[rows, width]`. */
export function addRows(moments: Moments, x: Numbers): void {
  const { width, sums } = moments;
  const columns = transposed(x, width);
  const rows = x.length / width;
  const square = dots(columns, columns, rows, true);
  moments.rows += rows;
  let at = 0;
  for (let i = 0; i < width; i++) for (let j = i; j < width; j++) sums[at++]! += square[i * width + j]!;
}

/** The whole matrix `[width, width]` of an upper triangle. */
export function symmetric(triangle: Numbers, width: number): Float64Array {
  const out = new Float64Array(width * width);
  let at = 0;
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) out[i * width + j] = out[j * width + i] = triangle[at++]!;
  }
  return out;
}
