const ITERATIONS = 20;

export interface Balanced {
  /** Per output: weight ≈ quantized · rowScales[out] · channelScales[in]. */
  rowScales: Float32Array;
  /** Per input channel. */
  channelScales: Float32Array;
}

/**
 * Scales for int8 weights `[outputs, inputs]`, per output and per input: rows and columns are brought to equal root mean squares
 * in turns, then each row's largest number becomes 127, and then a channel that nowhere comes near the largest number of its rows gets
 * a finer scale, at no cost to the others. The channel scales are folded into the activations, which costs nothing.
 */
export function balance(weight: Float32Array, outputs: number, inputs: number): Balanced {
  // With squares s, u = 1/rowMean², v = 1/columnMean² only depend on sums of s·v and s·u: the weight is never rewritten.
  const u = new Float64Array(outputs);
  const v = new Float64Array(inputs).fill(1);
  const columns = new Float64Array(inputs);
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    columns.fill(0);
    for (let out = 0; out < outputs; out++) {
      const base = out * inputs;
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += weight[base + i]! * weight[base + i]! * v[i]!;
      const factor = sum > 0 ? inputs / sum : 1;
      u[out] = factor;
      for (let i = 0; i < inputs; i++) columns[i]! += weight[base + i]! * weight[base + i]! * factor;
    }
    for (let i = 0; i < inputs; i++) v[i] = columns[i]! > 0 ? outputs / columns[i]! : 1;
  }
  const channelScales = Float32Array.from(v, (value) => 1 / Math.sqrt(value));
  const rowScales = new Float32Array(outputs);
  // Per channel, its largest number as a share of the largest of the row.
  const reach = new Float32Array(inputs);
  for (let out = 0; out < outputs; out++) {
    const base = out * inputs;
    let largest = 0;
    for (let i = 0; i < inputs; i++) largest = Math.max(largest, Math.abs(weight[base + i]! / channelScales[i]!));
    if (largest === 0) {
      rowScales[out] = 1;
      continue;
    }
    rowScales[out] = largest / 127;
    for (let i = 0; i < inputs; i++)
      reach[i] = Math.max(reach[i]!, Math.abs(weight[base + i]! / channelScales[i]!) / largest);
  }
  for (let i = 0; i < inputs; i++) if (reach[i]! > 0) channelScales[i]! *= reach[i]!;
  return { rowScales, channelScales };
}
