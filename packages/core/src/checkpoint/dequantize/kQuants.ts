import { half } from './half.ts';

/** The 6-bit scale of group `group` (0-7) of Q4_K and Q5_K, packed in 12 bytes from `at`. */
function groupScale(source: Uint8Array, at: number, group: number): number {
  if (group < 4) return source[at + group]! & 63;
  return (source[at + group + 4]! & 15) | ((source[at + group - 4]! >> 6) << 4);
}

/** The 6-bit minimum of group `group` (0-7), from the same 12 bytes. */
function groupMinimum(source: Uint8Array, at: number, group: number): number {
  if (group < 4) return source[at + group + 4]! & 63;
  return (source[at + group + 4]! >> 4) | ((source[at + group]! >> 6) << 4);
}

/**
 * Q4_K, 256 values in 144 bytes: float16 scale and scale of the minima, 12 bytes of 6-bit scales and minima for
 * 8 groups of 32, then nibbles: each 32 bytes hold one group in the low and the next in the high halves.
 */
export function decodeQ4_K(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 144) {
    const scale = half(source, from);
    const minimumScale = half(source, from + 2);
    for (let group = 0; group < 8; group++, to += 32) {
      const groupStep = scale * groupScale(source, from + 4, group);
      const minimum = minimumScale * groupMinimum(source, from + 4, group);
      const nibbles = from + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) target[to + i] = groupStep * ((source[nibbles + i]! >> shift) & 15) - minimum;
    }
  }
}

/** Q5_K, 256 values in 176 bytes: as Q4_K, with 32 bytes of fifth bits (bit g of byte i is for value i of group g) before the nibbles. */
export function decodeQ5_K(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 176) {
    const scale = half(source, from);
    const minimumScale = half(source, from + 2);
    for (let group = 0; group < 8; group++, to += 32) {
      const groupStep = scale * groupScale(source, from + 4, group);
      const minimum = minimumScale * groupMinimum(source, from + 4, group);
      const nibbles = from + 48 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let i = 0; i < 32; i++) {
        const high = (source[from + 16 + i]! >> group) & 1;
        target[to + i] = groupStep * (((source[nibbles + i]! >> shift) & 15) | (high << 4)) - minimum;
      }
    }
  }
}

/**
 * Q6_K, 256 values in 210 bytes: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 int8 scales for groups of 16,
 * float16 scale; offset 32. Per half of 128 values: quarter q (32 values) has its nibbles in bytes (q & 1) * 32, low halves
 * for q < 2, and its bit pairs at bit 2q of the same 32 bytes.
 */
export function decodeQ6_K(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 210) {
    const scale = half(source, from + 208);
    for (let quarter = 0; quarter < 8; quarter++, to += 32) {
      const inHalf = quarter & 3;
      const low = from + (quarter >> 2) * 64 + (inHalf & 1) * 32;
      const shift = (inHalf >> 1) * 4;
      const high = from + 128 + (quarter >> 2) * 32;
      const scales = from + 192 + quarter * 2;
      const first = scale * ((source[scales]! << 24) >> 24);
      const second = scale * ((source[scales + 1]! << 24) >> 24);
      for (let i = 0; i < 32; i++) {
        const value = ((source[low + i]! >> shift) & 15) | (((source[high + i]! >> (2 * inHalf)) & 3) << 4);
        target[to + i] = (i < 16 ? first : second) * (value - 32);
      }
    }
  }
}
