import { half } from './half.ts';

/** The 32 fifth bits of a block, little endian. */
function highBits(source: Uint8Array, at: number): number {
  return source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24);
}

/** Q5_0, 32 values in 22 bytes: float16 scale, 32 high bits, 16 bytes of nibbles, offset 16. */
export function decodeQ5_0(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 22, to += 32) {
    const scale = half(source, from);
    const high = highBits(source, from + 2);
    for (let i = 0; i < 16; i++) {
      const byte = source[from + 6 + i]!;
      target[to + i] = scale * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
      target[to + 16 + i] = scale * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
    }
  }
}

/** Q5_1, 32 values in 24 bytes: float16 scale, float16 minimum, 32 high bits, 16 bytes of nibbles. */
export function decodeQ5_1(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 24, to += 32) {
    const scale = half(source, from);
    const minimum = half(source, from + 2);
    const high = highBits(source, from + 4);
    for (let i = 0; i < 16; i++) {
      const byte = source[from + 8 + i]!;
      target[to + i] = scale * ((byte & 15) | (((high >>> i) & 1) << 4)) + minimum;
      target[to + 16 + i] = scale * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) + minimum;
    }
  }
}
