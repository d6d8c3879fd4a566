// How weights lie in memory. All sizes in bytes; every block starts at a multiple of 64.

const align = (size: number, to: number) => Math.ceil(size / to) * to;

/** Outputs of a tile, and bytes of one pair of channels in it. */
const TILE_OUTPUTS = 32;
const LINE_BYTES = 64;

/**
 * int8 in tiles of 32 outputs: `[outputs / 32, channels / 2, 32, 2]`, one line of 64 bytes per pair of input channels, then the scales.
 */
export function tileInt8Layout(outputs: number, inputs: number) {
  const tiles = Math.ceil(outputs / TILE_OUTPUTS);
  const pairs = Math.ceil(inputs / 2);
  const rowScales = tiles * pairs * LINE_BYTES;
  const channelScales = rowScales + tiles * TILE_OUTPUTS * 4;
  const bias = channelScales + align(inputs * 4, 64);
  return { tiles, pairs, rowScales, channelScales, bias, byteLength: bias + tiles * TILE_OUTPUTS * 4 };
}

/** int8 with one record per input channel, its outputs padded to a tile, then the scales. */
export function recordInt8Layout(outputs: number, inputs: number) {
  const recordBytes = Math.ceil(outputs / TILE_OUTPUTS) * TILE_OUTPUTS;
  // Whole pairs of channels: the last may be all zero.
  const rowScales = align(recordBytes * 2 * Math.ceil(inputs / 2), 64);
  const channelScales = rowScales + align(recordBytes * 4, 64);
  const bias = channelScales + align(inputs * 4, 64);
  return { recordBytes, rowScales, channelScales, bias, byteLength: bias + recordBytes * 4 };
}

/** Channel-major float32: a record per input channel, then the bias. */
export function channelFloat32Layout(outputs: number, inputs: number) {
  const columns = align(outputs, 16);
  const recordBytes = columns * 4;
  return { recordBytes, columns, bias: recordBytes * inputs, byteLength: recordBytes * inputs + recordBytes };
}

const HEAD_TILE_OUTPUTS = 16;
const GROUP_INPUTS = 32;

/**
 * int8 of a head or an embedding: tiles of 16 outputs, in groups of 32 inputs, `[outputs / 16, inputs / 32, 16 pairs, 16, 2]`, then
 * a scale per output and group, `[outputs / 16, inputs / 32, 16]`.
 */
export function headInt8Layout(outputs: number, inputs: number) {
  const groups = Math.ceil(inputs / GROUP_INPUTS);
  const tiles = Math.ceil(outputs / HEAD_TILE_OUTPUTS);
  const scales = tiles * groups * HEAD_TILE_OUTPUTS * GROUP_INPUTS;
  return { groups, tiles, scales, byteLength: scales + tiles * groups * HEAD_TILE_OUTPUTS * 4 };
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
