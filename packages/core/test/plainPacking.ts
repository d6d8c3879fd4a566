import { headInt8Layout, recordInt8Layout, tileInt8Layout } from '../src/backends/wasm/packing/layouts.ts';

// int8 weights by plain loops: what the packing kernels must give, bit by bit.

const LINE_BYTES = 64;
const HEAD_TILE_OUTPUTS = 16;
const GROUP_INPUTS = 32;
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
  floats(target, layout.rowScales, outputs).set(rowScales);
  floats(target, layout.channelScales, inputs).set(channelScales);
  floats(target, layout.bias, outputs).set(bias);
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
  return (out: number, input: number) =>
    ((out >> 5) * pairs + (input >> 1)) * LINE_BYTES + (out & 31) * 2 + (input & 1);
}

/** Where the weight of an output and an input lies. */
function recordPlace(outputs: number, inputs: number) {
  const { recordBytes } = recordInt8Layout(outputs, inputs);
  return (out: number, input: number) => input * recordBytes + out;
}

/**
 * Writes some rows of float32 weights, from row `first` on (a multiple of 16), as int8 of a head. The grid is that of Q8_0, so weights
 * that come from a Q8_0 tensor keep their exact values.
 */
export function packHeadInt8(weight: Float32Array, first: number, outputs: number, inputs: number, target: Uint8Array) {
  const { groups, scales: scalesAt, tiles } = headInt8Layout(outputs, inputs);
  const bytes = new Int8Array(target.buffer, target.byteOffset);
  const scales = floats(target, scalesAt, tiles * groups * HEAD_TILE_OUTPUTS);
  for (let row = 0; row < weight.length / inputs; row++) {
    const lane = (first + row) % HEAD_TILE_OUTPUTS;
    const tile = Math.floor((first + row) / HEAD_TILE_OUTPUTS);
    for (let group = 0; group < groups; group++) {
      const from = row * inputs + group * GROUP_INPUTS;
      const to = Math.min(from + GROUP_INPUTS, (row + 1) * inputs);
      let largest = 0;
      for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(weight[i]!));
      scales[(tile * groups + group) * HEAD_TILE_OUTPUTS + lane] = largest / 127;
      const factor = largest > 0 ? 127 / largest : 0;
      const block = (tile * groups + group) * HEAD_TILE_OUTPUTS * GROUP_INPUTS + lane * 2;
      for (let i = from; i < to; i++) {
        bytes[block + ((i - from) >> 1) * HEAD_TILE_OUTPUTS * 2 + ((i - from) & 1)] = Math.round(weight[i]! * factor);
      }
    }
  }
}

function floats(target: Uint8Array, at: number, length: number): Float32Array {
  return new Float32Array(target.buffer, target.byteOffset + at, length);
}
