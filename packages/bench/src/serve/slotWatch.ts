import type { KvMemory, Plugin } from '@llmopt/core';

/** What goes on in a KV cache, seen from outside. */
export interface SlotWatch {
  /** Sequences that hold keys and values now. */
  held(): number;
  /** The most of them at once so far. */
  mostHeld(): number;
  /** Bytes of the cache that are resident, as the operating system says; undefined where it does not. */
  residentBytes(): number | undefined;
}

/** The same plugin, whose cache is watched. `isWhole`: whether all its memory is that of the backend's slots. */
export function watchSlots(plugin: Plugin, { isWhole = true } = {}): { plugin: Plugin; watch: SlotWatch } {
  const { kvCache: makeCache } = plugin;
  let memory: KvMemory | undefined;
  let most = 0;
  const holding = new Set<number>();
  const watch = {
    held: () => holding.size,
    mostHeld: () => most,
    residentBytes: () => (isWhole ? memory?.residentBytes() : undefined),
  };
  if (!makeCache) return { plugin, watch };
  const watched: Plugin = {
    ...plugin,
    kvCache(layout, context) {
      memory = context.memory;
      const cache = makeCache(layout, context);
      return {
        ...cache,
        commit(slot, length) {
          cache.commit(slot, length);
          holding.add(slot);
          most = Math.max(most, holding.size);
        },
        release(slot) {
          holding.delete(slot);
          cache.release(slot);
        },
        ...(cache.recycled && {
          recycled() {
            holding.clear();
            cache.recycled?.();
          },
        }),
      };
    },
  };
  return { plugin: watched, watch };
}
