import { balance } from './balance.ts';

// How weights lie in memory. All sizes in bytes; every block starts at a multiple of 64.

const align = (size: number, to: number) => Math.ceil(size / to) * to;

// Records up to this size are too short to stream one by one: reading eight of them side by side is what pays.
const SHORT_RECORD_BYTES = 1024;

/**
 * Channel-major int8: `recordBytes` per input channel, then the scales. Short records are `interleaved`, line by line of 64 bytes, with
 * those of seven other channels: `[channels / 8, outputs / 64, 8, 64]`.
 */
export function channelInt8Layout(outputs: number, inputs: number) {
  const recordBytes = align(outputs, 64);
  const channels = align(inputs, 8);
  const rowScales = recordBytes * channels;
  const channelScales = rowScales + recordBytes * 4;
  const bias = channelScales + align(channels * 4, 64);
  const interleaved = recordBytes <= SHORT_RECORD_BYTES;
  return { recordBytes, channels, interleaved, rowScales, channelScales, bias, byteLength: bias + recordBytes * 4 };
}

/** Where an output (a multiple of 64) of a channel lies. */
export function lineOffset(
  { recordBytes, interleaved }: { recordBytes: number; interleaved: boolean },
  channel: number,
  output: number,
): number {
  if (!interleaved) return channel * recordBytes + output;
  return (channel >> 3) * recordBytes * 8 + output * 8 + (channel & 7) * 64;
}

/** Channel-major float32: a record per input channel, then the bias. */
export function channelFloat32Layout(outputs: number, inputs: number) {
  const columns = align(outputs, 16);
  const recordBytes = columns * 4;
  return { recordBytes, columns, bias: recordBytes * inputs, byteLength: recordBytes * inputs + recordBytes };
}

/** Output-major int8 in groups of 32 inputs, then one scale per group. */
export function rowInt8Layout(outputs: number, inputs: number) {
  const groups = Math.ceil(inputs / 32);
  const scales = align(outputs * groups * 32, 64);
  return { groups, scales, byteLength: scales + align(outputs * groups * 4, 64) };
}

/** Writes float32 weights `[outputs, inputs]` as channel-major int8. `target` is all zero before. */
export function packChannelInt8(
  weight: Float32Array,
  bias: Float32Array,
  outputs: number,
  inputs: number,
  target: Uint8Array,
) {
  const layout = channelInt8Layout(outputs, inputs);
  const { rowScales, channelScales } = balance(weight, outputs, inputs);
  floats(target, layout.rowScales, layout.recordBytes).set(rowScales);
  floats(target, layout.channelScales, layout.channels).set(channelScales);
  floats(target, layout.bias, layout.recordBytes).set(bias);
  const bytes = new Int8Array(target.buffer, target.byteOffset);
  const channelFactors = channelScales.map((scale) => 1 / scale);
  // 64 outputs at a time: one cache line of each record.
  for (let from = 0; from < outputs; from += 64) {
    const to = Math.min(from + 64, outputs);
    for (let i = 0; i < inputs; i++) {
      const line = lineOffset(layout, i, from);
      for (let out = from; out < to; out++) {
        const scaled = (weight[out * inputs + i]! * channelFactors[i]!) / rowScales[out]!;
        bytes[line + out - from] = Math.max(-127, Math.min(127, Math.round(scaled)));
      }
    }
  }
}

/** Writes float32 weights `[outputs, inputs]` channel-major. `target` is all zero before. */
export function packChannelFloat32(
  weight: Float32Array,
  bias: Float32Array,
  outputs: number,
  inputs: number,
  target: Uint8Array,
) {
  const layout = channelFloat32Layout(outputs, inputs);
  const out = floats(target, 0, layout.byteLength / 4);
  for (let row = 0; row < outputs; row++) {
    for (let i = 0; i < inputs; i++) out[i * layout.columns + row] = weight[row * inputs + i]!;
  }
  floats(target, layout.bias, layout.columns).set(bias);
}

/**
 * Writes some rows of float32 weights, from row `first` on, as output-major int8. The grid is that of Q8_0, so weights that come from
 * a Q8_0 tensor keep their exact values.
 */
export function packRowsInt8(weight: Float32Array, first: number, outputs: number, inputs: number, target: Uint8Array) {
  const { groups, scales: scalesAt } = rowInt8Layout(outputs, inputs);
  const bytes = new Int8Array(target.buffer, target.byteOffset);
  const scales = floats(target, scalesAt, outputs * groups);
  for (let row = 0; row < weight.length / inputs; row++) {
    for (let group = 0; group < groups; group++) {
      const from = row * inputs + group * 32;
      const to = Math.min(from + 32, (row + 1) * inputs);
      let largest = 0;
      for (let i = from; i < to; i++) largest = Math.max(largest, Math.abs(weight[i]!));
      const at = (first + row) * groups + group;
      scales[at] = largest / 127;
      const factor = largest > 0 ? 127 / largest : 0;
      for (let i = from; i < to; i++) bytes[at * 32 + i - from] = Math.round(weight[i]! * factor);
    }
  }
}

function floats(target: Uint8Array, at: number, length: number): Float32Array {
  return new Float32Array(target.buffer, target.byteOffset + at, length);
}
