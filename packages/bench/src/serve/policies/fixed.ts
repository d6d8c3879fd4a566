import {
  bytesPerToken,
  contiguousKvCache,
  type KvCache,
  type KvContext,
  type KvLayout,
  LlmoptError,
} from '@llmopt/core';

/** Bytes that a slot takes with its whole range. */
export const slotBytes = ({ memory }: KvContext, layout: KvLayout): number =>
  memory ? memory.ranges * memory.rangeBytes(layout.capacity) : bytesPerToken(layout) * layout.capacity;

/**
 * The slots of core's own cache, of which only as many are used as the budget allows with their whole ranges: a slot may grow to all of its
 * range, and never shrinks. With `zeroed`, the ranges are resident from the start, as in an engine that clears its cache.
 * @throws LLMOPT_KV_BUDGET when there is no room for one
 */
export function fixedKvCache(
  layout: KvLayout,
  context: KvContext,
  { budgetBytes = Number.POSITIVE_INFINITY, zeroed }: { budgetBytes?: number | undefined; zeroed: boolean },
): KvCache {
  const { memory } = context;
  const each = slotBytes(context, layout);
  const usable = Math.min(layout.slots, Math.floor(budgetBytes / each));
  if (usable < 1) {
    throw new LlmoptError(
      'LLMOPT_KV_BUDGET',
      `A slot of ${layout.capacity} tokens takes ${each} bytes of the budget of ${budgetBytes}.`,
      {
        hint: 'Use a shorter context, or a larger budget.',
        where: { slotBytes: each, budgetBytes },
      },
    );
  }
  if (zeroed) {
    if (!memory) throw new LlmoptError('LLMOPT_OPTION_INVALID', "This backend's KV memory cannot be made resident.");
    for (let slot = 0; slot < usable; slot++) memory.commit(slot, 0, layout.capacity);
  }
  // Its memory is not to be dropped.
  const { recycled: _, ...cache } = contiguousKvCache(layout);
  let taken = 0;
  return {
    ...cache,
    policy: `${usable} slots, ${zeroed ? 'resident from the start' : 'resident as far as they were written to'}, and kept`,
    acquire(sequence) {
      if (taken === usable) return undefined;
      const slot = cache.acquire(sequence);
      if (slot !== undefined) taken++;
      return slot;
    },
    release(slot) {
      if (cache.isAcquired(slot)) taken--;
      cache.release(slot);
    },
    bytes: () => (zeroed ? { ...cache.bytes(), committed: usable * each } : cache.bytes()),
  };
}
