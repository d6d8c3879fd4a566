import { half } from './half.ts';

/** Q4_0, 32 values in 18 bytes: float16 scale, 16 bytes whose low nibbles are values 0-15 and high nibbles 16-31, offset 8. */
export function decodeQ4_0(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 18, to += 32) {
    const scale = half(source, from);
    for (let i = 0; i < 16; i++) {
      const byte = source[from + 2 + i]!;
      target[to + i] = scale * ((byte & 15) - 8);
      target[to + 16 + i] = scale * ((byte >> 4) - 8);
    }
  }
}

/** Q4_1, 32 values in 20 bytes: float16 scale, float16 minimum, 16 bytes of nibbles. */
export function decodeQ4_1(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 20, to += 32) {
    const scale = half(source, from);
    const minimum = half(source, from + 2);
    for (let i = 0; i < 16; i++) {
      const byte = source[from + 4 + i]!;
      target[to + i] = scale * (byte & 15) + minimum;
      target[to + 16 + i] = scale * (byte >> 4) + minimum;
    }
  }
}
