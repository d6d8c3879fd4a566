import { decodeBF16, decodeF16, decodeF32 } from './float.ts';
import { decodeQ4_K, decodeQ5_K, decodeQ6_K } from './kQuants.ts';
import { decodeQ4_0, decodeQ4_1 } from './q4.ts';
import { decodeQ5_0, decodeQ5_1 } from './q5.ts';
import { decodeQ8_0 } from './q8.ts';

/** How a tensor type lays its values out: blocks of a fixed number of values in a fixed number of bytes. */
export interface TensorFormat {
  readonly blockElements: number;
  readonly blockBytes: number;
  /**
   * Decodes `blocks` blocks from the start of `source` into `target` from element `at` on; bounds are the caller's
   * business. Floats are copied as they are, so the machine must be little endian.
   */
  readonly decode: (source: Uint8Array, blocks: number, target: Float32Array, at: number) => void;
}

/** The tensor types that can be read, by the name GGUF gives them. */
export const tensorFormats = {
  F32: { blockElements: 1, blockBytes: 4, decode: decodeF32 },
  F16: { blockElements: 1, blockBytes: 2, decode: decodeF16 },
  BF16: { blockElements: 1, blockBytes: 2, decode: decodeBF16 },
  Q8_0: { blockElements: 32, blockBytes: 34, decode: decodeQ8_0 },
  Q4_0: { blockElements: 32, blockBytes: 18, decode: decodeQ4_0 },
  Q4_1: { blockElements: 32, blockBytes: 20, decode: decodeQ4_1 },
  Q5_0: { blockElements: 32, blockBytes: 22, decode: decodeQ5_0 },
  Q5_1: { blockElements: 32, blockBytes: 24, decode: decodeQ5_1 },
  Q4_K: { blockElements: 256, blockBytes: 144, decode: decodeQ4_K },
  Q5_K: { blockElements: 256, blockBytes: 176, decode: decodeQ5_K },
  Q6_K: { blockElements: 256, blockBytes: 210, decode: decodeQ6_K },
} as const satisfies Record<string, TensorFormat>;

export type TensorType = keyof typeof tensorFormats;
