/** Indices of the `keep` largest numbers by magnitude, ascending; of equals at the border the first. */
export function topK(row: Float32Array, keep: number): Int32Array {
  const order = Array.from(row.keys()).sort((a, b) => Math.abs(row[b]!) - Math.abs(row[a]!) || a - b);
  return Int32Array.from(order.slice(0, keep)).sort();
}

/** Indices of the numbers that reach a threshold by magnitude, ascending; if none does, of the first of the largest. */
export function reaching(row: Float32Array, threshold: number): Int32Array {
  const border = Math.fround(threshold);
  const found = Int32Array.from(row.keys()).filter((channel) => Math.abs(row[channel]!) >= border);
  return found.length > 0 ? found : topK(row, 1);
}

/** |x| · c, by channel, in float32: every backend must have these bits. */
export function weighted(row: Float32Array, norms: Float32Array): Float32Array {
  return row.map((x, channel) => Math.abs(x) * norms[channel]!);
}
