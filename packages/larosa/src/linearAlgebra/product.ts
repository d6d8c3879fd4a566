import { dots, type Numbers } from './dots.ts';

/** left · right in float64: `[rows, inner]` times `[inner, columns]`. */
export function product(left: Numbers, right: Numbers, inner: number): Float64Array {
  return dots(left, transposed(right, right.length / inner), inner);
}

/** `[rows, columns]` to `[columns, rows]`. */
export function transposed(matrix: Numbers, columns: number): Float64Array {
  const rows = matrix.length / columns;
  const out = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j]!;
  return out;
}
