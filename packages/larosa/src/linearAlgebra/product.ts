/** Row-major numbers. */
export type Numbers = Float32Array | Float64Array;

/** left · right in float64: `[rows, inner]` times `[inner, columns]`. */
export function product(left: Numbers, right: Numbers, inner: number): Float64Array {
  const rows = left.length / inner;
  const columns = right.length / inner;
  const out = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    const base = row * columns;
    let k = 0;
    // Four at a time: the sum is loaded and stored once for all of them.
    for (; k + 4 <= inner; k += 4) {
      const at = row * inner + k;
      const a = left[at]!;
      const b = left[at + 1]!;
      const c = left[at + 2]!;
      const d = left[at + 3]!;
      const r0 = k * columns;
      const r1 = r0 + columns;
      const r2 = r1 + columns;
      const r3 = r2 + columns;
      for (let j = 0; j < columns; j++) {
        out[base + j]! += a * right[r0 + j]! + b * right[r1 + j]! + c * right[r2 + j]! + d * right[r3 + j]!;
      }
    }
    for (; k < inner; k++) {
      const a = left[row * inner + k]!;
      for (let j = 0; j < columns; j++) out[base + j]! += a * right[k * columns + j]!;
    }
  }
  return out;
}

/** `[rows, columns]` to `[columns, rows]`. */
export function transposed(matrix: Float64Array, columns: number): Float64Array {
  const rows = matrix.length / columns;
  const out = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = matrix[i * columns + j]!;
  return out;
}
