import {
  checkCapacity,
  contiguousKvCache,
  type KvCache,
  type KvContext,
  type KvLayout,
  LlmoptError,
} from '@llmopt/core';

/**
 * Every step makes new memory for the sequence and copies all of it over, as an engine does that has the cache among the inputs and
 * outputs of a graph. The old memory is there until the next step, so that a sequence takes twice its tokens.
 */
export function growCopyKvCache(
  layout: KvLayout,
  { memory }: KvContext,
  { budgetBytes = Number.POSITIVE_INFINITY }: { budgetBytes?: number | undefined },
): KvCache {
  if (!memory) throw new LlmoptError('LLMOPT_OPTION_INVALID', "This backend's KV memory cannot be read and written.");
  // Its memory is not to be dropped.
  const { recycled: _, ...cache } = contiguousKvCache(layout);
  const bytesOf = (tokens: number) => memory.ranges * memory.rangeBytes(tokens);
  // Slots that are taken, with the tokens that they were taken for.
  const taken = new Map<number, number>();
  const grown = new Map<number, number>();
  // What a slot held before its last step.
  const old = new Map<number, Uint8Array>();
  const committed = () => {
    let sum = 0;
    for (const slot of taken.keys()) sum += bytesOf(grown.get(slot) ?? 0) + (old.get(slot)?.length ?? 0);
    return sum;
  };
  /** What sequences take at most until their next step is done: no step is refused for a sequence that was admitted just before it. */
  const promised = () => {
    let sum = 0;
    for (const [slot, tokens] of taken) sum += 2 * bytesOf(Math.max(tokens, cache.length(slot) + 1));
    return sum;
  };
  /** When a sequence grows to so many tokens: the new memory, and the old one. */
  const needed = (slot: number, tokens: number) => bytesOf(tokens) + bytesOf(cache.length(slot));
  const drop = (slot: number) => {
    old.delete(slot);
    grown.delete(slot);
    memory.release(slot, 0);
  };
  return {
    ...cache,
    policy: 'every step copies the sequence to new memory; given back at its end',
    acquire(sequence) {
      const tokens = Math.min(sequence?.tokens.length ?? 1, layout.capacity);
      const bytes = 2 * bytesOf(tokens);
      if (bytes > budgetBytes) {
        throw new LlmoptError(
          'LLMOPT_KV_BUDGET',
          `A sequence of ${tokens} tokens takes ${bytes} bytes of the budget of ${budgetBytes}.`,
        );
      }
      if (promised() + bytes > budgetBytes) return undefined;
      const slot = cache.acquire(sequence);
      if (slot !== undefined) taken.set(slot, tokens);
      return slot;
    },
    release(slot) {
      if (!cache.isAcquired(slot)) return;
      cache.release(slot);
      taken.delete(slot);
      drop(slot);
    },
    reserve(lengths) {
      checkCapacity(layout, lengths);
      const growing = [...lengths].filter(([slot, length]) => length > (grown.get(slot) ?? 0));
      let total = committed();
      for (const [slot, length] of growing) {
        total += needed(slot, length) - bytesOf(grown.get(slot) ?? 0) - (old.get(slot)?.length ?? 0);
      }
      if (total > budgetBytes) {
        throw new LlmoptError('LLMOPT_KV_BUDGET', `A step needs ${total} bytes of the budget of ${budgetBytes}.`);
      }
      for (const [slot, length] of growing) {
        const held = cache.length(slot);
        if (held > 0) {
          const copy = memory.read(slot, held);
          memory.write(slot, held, copy);
          old.set(slot, copy);
        }
        grown.set(slot, length);
      }
    },
    bytes: () => ({ ...cache.bytes(), committed: committed() }),
  };
}
