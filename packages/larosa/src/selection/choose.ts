/** Indices of the `keep` largest numbers by magnitude, ascending; of equals at the border the first. */
export function topK(row: Float32Array, keep: number): Int32Array {
  const sizes = row.map(Math.abs);
  const border = sizes.toSorted()[row.length - keep]!;
  let rest = keep - sizes.reduce((count, size) => count + Number(size > border), 0);
  return Int32Array.from(row.keys()).filter(
    (channel) => sizes[channel]! > border || (sizes[channel] === border && rest-- > 0),
  );
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
