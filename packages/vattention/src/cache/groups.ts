import { bytesPerToken, type KvLayout, type KvMemory } from '@llmopt/core';

/**
 * The unit in which memory is counted: a group is so many bytes in each of a slot's ranges, at the same depth, since keys and values of all layers
 * grow together. The last group of a slot ends where its ranges do.
 */
export interface Groups {
  /** Bytes of a group in one range: whole pages, and at least a run of tokens. */
  readonly groupBytes: number;
  /** Groups of a slot that is full. */
  readonly perSlot: number;
  /** Groups that so many tokens take. */
  groupsFor(tokens: number): number;
  /** Tokens that have room in so many groups: whole runs. */
  tokensIn(groups: number): number;
  /** Bytes of so many groups of a slot, in all its ranges. */
  bytesOf(groups: number): number;
  /** The most groups that take no more than so many bytes. */
  groupsWithin(bytes: number): number;
}

/** @param memory undefined: of a range nothing is known but its tokens */
export function groupsOf(layout: KvLayout, memory: KvMemory | undefined, leastBytes: number): Groups {
  const { capacity, layers } = layout;
  const ranges = memory?.ranges ?? 2 * layers;
  const rangeBytes = memory ? memory.rangeBytes : (tokens: number) => (tokens * bytesPerToken(layout)) / ranges;
  const pageBytes = memory?.pageBytes ?? 1;
  const whole = (bytes: number) => Math.ceil(bytes / pageBytes) * pageBytes;
  const groupBytes = Math.max(whole(leastBytes), whole(rangeBytes(1)));
  const fullBytes = whole(rangeBytes(capacity));
  const groupsFor = (tokens: number) => Math.ceil(rangeBytes(tokens) / groupBytes);
  return {
    groupBytes,
    perSlot: groupsFor(capacity),
    groupsFor,
    tokensIn(groups) {
      let fits = 0;
      for (let above = capacity + 1; above - fits > 1; ) {
        const middle = (fits + above) >> 1;
        if (rangeBytes(middle) <= groups * groupBytes) fits = middle;
        else above = middle;
      }
      return fits;
    },
    bytesOf: (groups) => Math.min(groups * groupBytes, fullBytes) * ranges,
    groupsWithin: (bytes) => Math.max(0, Math.floor(bytes / (groupBytes * ranges))),
  };
}
