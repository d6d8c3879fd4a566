import { halfToFloat } from './half.ts';

/** Copies float32 values. */
export function decodeF32(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  new Uint8Array(target.buffer, target.byteOffset + at * 4, blocks * 4).set(source.subarray(0, blocks * 4));
}

export function decodeF16(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  const floats = halfToFloat();
  for (let i = 0; i < blocks; i++) target[at + i] = floats[source[2 * i]! | (source[2 * i + 1]! << 8)]!;
}

/** bfloat16 is the upper half of a float32. */
export function decodeBF16(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset + at * 4, blocks);
  for (let i = 0; i < blocks; i++) bits[i] = (source[2 * i]! << 16) | (source[2 * i + 1]! << 24);
}
