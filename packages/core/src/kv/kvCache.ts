import type { Sequence } from '../plugin/plugin.ts';
import type { KvMemory } from './kvMemory.ts';

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
  /** How memory is committed and given back, in a line for `describe()`. */
  readonly policy: string;
  /**
   * A free slot; undefined when all are taken, or when there is no room for the sequence until another one ends. With the sequence that it is for,
   * the slot may already hold keys and values of a prefix of its tokens, at most all but one: `length(slot)` says how many. The cache may
   * look at the sequence's tokens, up to the slot's length, until the slot is released.
   * @throws LLMOPT_KV_BUDGET when there will never be room for so long a prompt
   */
  acquire(sequence?: Sequence): number | undefined;
  /** Give a slot back. Releasing a free slot does nothing. */
  release(slot: number): void;
  isAcquired(slot: number): boolean;
  /** Tokens in the slot. */
  length(slot: number): number;
  /**
   * Make sure that so many tokens fit in each of these slots, by slot: in all of them, or nothing has changed.
   * @throws LLMOPT_KV_FULL when a sequence is at the end of its slot, LLMOPT_KV_BUDGET when other sequences have the memory
   */
  reserve(lengths: ReadonlyMap<number, number>): void;
  /** Tokens up to `length` have been written. */
  commit(slot: number, length: number): void;
  /** Forget the tokens from `length` on. */
  truncate(slot: number, length: number): void;
  bytes(): KvBytes;
  /**
   * A small piece of work for which nobody has to wait, such as to commit memory ahead: called while a step computes, and between calls when
   * nothing runs. True when more of it is to be done.
   */
  idle?(): boolean;
  /**
   * The memory of all slots has been dropped; none is taken. No slot holds anything any more, and nothing is committed. A backend drops memory only
   * for a cache that has this.
   */
  recycled?(): void;
  /** Whether memory should go back that only `Executable.recycle` can give back. Asked when nothing runs and no slot is taken. */
  recycleDue?(): boolean;
}

/** What a cache may need beside its layout. */
export interface KvContext {
  /** The memory behind the cache, where the backend lets it be managed. */
  readonly memory: KvMemory | undefined;
  /** Names all that keys and values depend on: checkpoint, plugins, backend. */
  readonly modelKey: string;
  /**
   * Whether rows of a prompt are computed in another way than others. Then keys and values can stand for those of another sequence only where both
   * come from prompts.
   */
  readonly promptsDiffer: boolean;
}

/** Makes a KV cache for a layout; the `kvCache` hook of a plugin is one. */
export type KvCacheProvider = (layout: KvLayout, context: KvContext) => KvCache;

/** Plain access to key and value rows, for reference kernels. */
export interface KvRows {
  /** `[capacity, kvHeads · headDim]` float32 */
  keys(layer: number, slot: number): Float32Array;
  values(layer: number, slot: number): Float32Array;
}
