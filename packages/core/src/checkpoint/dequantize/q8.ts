import { half } from './half.ts';

/** Q8_0, 32 values in 34 bytes: float16 scale, 32 int8. */
export function decodeQ8_0(source: Uint8Array, blocks: number, target: Float32Array, at: number): void {
  for (let block = 0, from = 0, to = at; block < blocks; block++, from += 34, to += 32) {
    const scale = half(source, from);
    for (let i = 0; i < 32; i++) target[to + i] = scale * ((source[from + 2 + i]! << 24) >> 24);
  }
}
