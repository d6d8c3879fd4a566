import { LlmoptError } from '../errors.ts';
import type { KvCache, KvLayout } from './kvCache.ts';

/** Bytes that one token takes in the cache: keys and values of all layers. */
export function bytesPerToken(layout: KvLayout): number {
  const bytesPerHead = layout.elementType === 'int16' ? layout.headDim * 2 + 4 : layout.headDim * 4;
  return layout.layers * 2 * layout.kvHeads * bytesPerHead;
}

/** @throws LLMOPT_KV_FULL when a length is more than a slot holds */
export function checkCapacity({ capacity }: KvLayout, lengths: ReadonlyMap<number, number>): void {
  for (const [slot, length] of lengths) {
    if (length <= capacity) continue;
    throw new LlmoptError('LLMOPT_KV_FULL', `Slot ${slot} holds ${capacity} tokens; ${length} were asked for.`, {
      where: { slot, capacity, asked: length },
      hint: 'Use a longer contextLength, or shorter prompts.',
    });
  }
}

/** The default cache: each slot owns one contiguous range for the whole context. */
export function contiguousKvCache(layout: KvLayout): KvCache {
  const lengths = new Int32Array(layout.slots);
  const highWater = new Int32Array(layout.slots);
  const taken = new Uint8Array(layout.slots);
  const perToken = bytesPerToken(layout);
  const sum = (counts: Int32Array) => counts.reduce((total, count) => total + count, 0) * perToken;
  return {
    layout,
    policy: 'memory is committed when it is written to, and kept',
    acquire() {
      const slot = taken.indexOf(0);
      if (slot < 0) return undefined;
      taken[slot] = 1;
      lengths[slot] = 0;
      return slot;
    },
    release(slot) {
      taken[slot] = 0;
      lengths[slot] = 0;
    },
    isAcquired: (slot) => taken[slot] === 1,
    length: (slot) => lengths[slot] ?? 0,
    reserve: (lengths) => checkCapacity(layout, lengths),
    commit(slot, length) {
      lengths[slot] = length;
      highWater[slot] = Math.max(highWater[slot] ?? 0, length);
    },
    truncate(slot, length) {
      lengths[slot] = Math.min(lengths[slot] ?? 0, length);
    },
    recycled() {
      highWater.fill(0);
    },
    bytes: () => ({
      reserved: layout.slots * layout.capacity * perToken,
      committed: sum(highWater),
      live: sum(lengths),
    }),
  };
}
