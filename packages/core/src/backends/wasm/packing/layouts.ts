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

/** int16 in tiles of 32 outputs: `[outputs / 32, inputs, 32]`, then a scale per output and the bias. */
export function tileInt16Layout(outputs: number, inputs: number) {
  const tiles = Math.ceil(outputs / TILE_OUTPUTS);
  const rowScales = tiles * inputs * LINE_BYTES;
  const bias = rowScales + tiles * TILE_OUTPUTS * 4;
  return { tiles, rowScales, bias, byteLength: bias + tiles * TILE_OUTPUTS * 4 };
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

/** Where the packer has what, from `weight` on, for a matrix whose packed weights, without their scales, have so many bytes. */
export function int8Room(outputs: number, inputs: number, packedBytes: number, weight = 0) {
  const v = align(weight + outputs * inputs * 4, 64);
  const u = align(v + inputs * 8, 64);
  const channelScales = align(u + outputs * 8, 64);
  const channelFactors = align(channelScales + inputs * 4, 64);
  const rowScales = align(channelFactors + inputs * 4, 64);
  const packed = align(rowScales + outputs * 4, 64);
  return { v, u, channelScales, channelFactors, rowScales, packed, end: packed + packedBytes };
}

/** The same for rows of a head. */
export function headRoom(rows: number, inputs: number, weight = 0) {
  const packed = align(weight + rows * inputs * 4, 64);
  return { packed, end: packed + headInt8Layout(rows, inputs).byteLength };
}

/** Writes rows of float32 weights, from row `first` of `outputs` on, channel-major. */
export function packChannelFloat32(
  rows: Float32Array,
  first: number,
  outputs: number,
  inputs: number,
  target: Uint8Array,
) {
  const { columns } = channelFloat32Layout(outputs, inputs);
  const out = new Float32Array(target.buffer, target.byteOffset, columns * inputs);
  for (let row = 0; row < rows.length / inputs; row++) {
    for (let i = 0; i < inputs; i++) out[i * columns + first + row] = rows[row * inputs + i]!;
  }
}

const INT16_LARGEST = 32_767;

/** Writes rows of float32 weights, from row `first` of `outputs` on, as int16 in tiles: the largest number of a row becomes 32767. */
export function packTilesInt16(rows: Float32Array, first: number, outputs: number, inputs: number, target: Uint8Array) {
  const { tiles, rowScales } = tileInt16Layout(outputs, inputs);
  const packed = new Int16Array(target.buffer, target.byteOffset, tiles * inputs * TILE_OUTPUTS);
  const scales = new Float32Array(target.buffer, target.byteOffset + rowScales, outputs);
  for (let row = 0; row < rows.length / inputs; row++) {
    const out = first + row;
    let largest = 0;
    for (let i = 0; i < inputs; i++) largest = Math.max(largest, Math.abs(rows[row * inputs + i]!));
    scales[out] = largest / INT16_LARGEST;
    const factor = largest > 0 ? INT16_LARGEST / largest : 0;
    const tile = Math.floor(out / TILE_OUTPUTS) * inputs * TILE_OUTPUTS + (out % TILE_OUTPUTS);
    for (let i = 0; i < inputs; i++) packed[tile + i * TILE_OUTPUTS] = Math.round(rows[row * inputs + i]! * factor);
  }
}
