/** Size of a KV cache. */
export interface KvLayout {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Sequences at once. */
  readonly slots: number;
  /** Tokens per slot. */
  readonly capacity: number;
  /** `int16`: with a float32 scale per token and head. */
  readonly elementType: 'float32' | 'int16';
}

export interface KvBytes {
  /** Address space. */
  reserved: number;
  /** Memory that has been written to. */
  committed: number;
  /** Memory of tokens that are part of a sequence now. */
  live: number;
}

/**
 * Keeps the books of the KV cache: which slots are taken, and how many tokens each holds. A slot is a virtual range for
 * the whole context; memory behind it is used only up to the write position. The attention kernel sees a dense
 * `[length, kvHeads, headDim]` per layer and slot.
 */
export interface KvCache {
  readonly layout: KvLayout;
  /** A free slot of length 0; undefined when all are taken. */
  acquire(): number | undefined;
  /** Give a slot back. Releasing a free slot does nothing. */
  release(slot: number): void;
  isAcquired(slot: number): boolean;
  /** Tokens in the slot. */
  length(slot: number): number;
  /** Make sure that `length` tokens fit. @throws LLMOPT_KV_FULL with no effect */
  reserve(slot: number, length: number): void;
  /** Tokens up to `length` have been written. */
  commit(slot: number, length: number): void;
  /** Forget the tokens from `length` on. */
  truncate(slot: number, length: number): void;
  bytes(): KvBytes;
}

/** Makes a KV cache for a layout; the `kvCache` hook of a plugin is one. */
export type KvCacheProvider = (layout: KvLayout) => KvCache;

/** Plain access to key and value rows, for reference kernels. */
export interface KvRows {
  /** `[capacity, kvHeads · headDim]` float32 */
  keys(layer: number, slot: number): Float32Array;
  values(layer: number, slot: number): Float32Array;
}
