import { recordInt8Layout, tileInt8Layout } from '../src/backends/wasm/packing/layouts.ts';

// Packing to int8 in plain loops: what the code that does it is held against.

const ITERATIONS = 20;

interface Balanced {
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
function balance(weight: Float32Array, outputs: number, inputs: number): Balanced {
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

/** Writes float32 weights `[outputs, inputs]` as int8, in tiles or in records. `target` is all zero before. */
export function packInt8(
  weight: Float32Array,
  bias: Float32Array,
  outputs: number,
  inputs: number,
  records: boolean,
  target: Uint8Array,
) {
  const layout = records ? recordInt8Layout(outputs, inputs) : tileInt8Layout(outputs, inputs);
  const { rowScales, channelScales } = balance(weight, outputs, inputs);
  const floats = (at: number, length: number) => new Float32Array(target.buffer, target.byteOffset + at, length);
  floats(layout.rowScales, outputs).set(rowScales);
  floats(layout.channelScales, inputs).set(channelScales);
  floats(layout.bias, outputs).set(bias);
  const bytes = new Int8Array(target.buffer, target.byteOffset);
  const channelFactors = channelScales.map((scale) => 1 / scale);
  const place = records ? recordPlace(outputs, inputs) : tilePlace(outputs, inputs);
  for (let out = 0; out < outputs; out++) {
    for (let i = 0; i < inputs; i++) {
      const scaled = Math.round((weight[out * inputs + i]! * channelFactors[i]!) / rowScales[out]!);
      bytes[place(out, i)] = Math.max(-127, Math.min(127, scaled));
    }
  }
}

/** Where the weight of an output and an input lies. */
export function tilePlace(outputs: number, inputs: number) {
  const { pairs } = tileInt8Layout(outputs, inputs);
  return (out: number, input: number) => ((out >> 5) * pairs + (input >> 1)) * 64 + (out & 31) * 2 + (input & 1);
}

function recordPlace(outputs: number, inputs: number) {
  const { recordBytes } = recordInt8Layout(outputs, inputs);
  return (out: number, input: number) => input * recordBytes + out;
}
