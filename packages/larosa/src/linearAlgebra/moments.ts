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
export function addRows(moments: Moments, x: Float64Array): void {
  const { width, sums } = moments;
  const rows = x.length / width;
  moments.rows += rows;
  let row = 0;
  // Four at a time: the sums are loaded and stored once for all of them.
  for (; row + 4 <= rows; row += 4) {
    const r0 = row * width;
    const r1 = r0 + width;
    const r2 = r1 + width;
    const r3 = r2 + width;
    let at = 0;
    for (let i = 0; i < width; i++) {
      const a = x[r0 + i]!;
      const b = x[r1 + i]!;
      const c = x[r2 + i]!;
      const d = x[r3 + i]!;
      for (let j = i; j < width; j++) {
        sums[at++]! += a * x[r0 + j]! + b * x[r1 + j]! + c * x[r2 + j]! + d * x[r3 + j]!;
      }
    }
  }
  for (; row < rows; row++) {
    let at = 0;
    for (let i = 0; i < width; i++) {
      const a = x[row * width + i]!;
      for (let j = i; j < width; j++) sums[at++]! += a * x[row * width + j]!;
    }
  }
}

/** The whole matrix `[width, width]` of an upper triangle. */
export function symmetric(triangle: Float32Array | Float64Array, width: number): Float64Array {
  const out = new Float64Array(width * width);
  let at = 0;
  for (let i = 0; i < width; i++) {
    for (let j = i; j < width; j++) out[i * width + j] = out[j * width + i] = triangle[at++]!;
  }
  return out;
}
