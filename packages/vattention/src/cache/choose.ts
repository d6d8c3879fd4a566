import type { Sequence } from '@llmopt/core';
import type { TokenTrie } from '../prefix/tokenTrie.ts';
import type { Slot } from './slots.ts';

/** Fewer tokens are computed again rather than looked for. */
export const LEAST_PREFIX = 16;

/** Where a sequence goes, and how many of its tokens are there already: in the slot itself, or in `source`, to be copied. */
export interface Choice {
  readonly slot: Slot;
  readonly common: number;
  readonly source?: Slot;
}

/** What a choice goes by. */
export interface Candidates {
  readonly slots: readonly Slot[];
  /** Slots that are free, and in which the sequence has room; at least one. */
  readonly free: readonly Slot[];
  readonly trie: TokenTrie;
  /** Groups that the sequence takes. */
  readonly need: number;
  /** Whether a slot can get so many groups without anything being given back. */
  growsFreely(slot: Slot, groups: number): boolean;
  groupsFor(tokens: number): number;
  readonly canCopy: boolean;
  readonly promptsDiffer: boolean;
}

/**
 * The slot that has the most memory to offer: of those with enough, the one with the least, otherwise the one with the most. One that holds the
 * tokens of a sequence that ended is left alone as long as another one does.
 */
export function chooseSlot({ free, trie, need, growsFreely }: Omit<Candidates, 'canCopy' | 'promptsDiffer'>): Slot {
  const cold = free.filter(({ id }) => trie.length(id) === 0);
  const best = bestFit(cold, need);
  if (best && (best.mapped >= need || growsFreely(best, need))) return best;
  return bestFit(free, need)!;
}

function bestFit(slots: readonly Slot[], need: number): Slot | undefined {
  let best: Slot | undefined;
  for (const slot of slots) {
    if (!best) best = slot;
    else if (best.mapped < need ? slot.mapped > best.mapped : slot.mapped >= need && slot.mapped < best.mapped)
      best = slot;
  }
  return best;
}

/**
 * Where a sequence finds the longest beginning of its tokens: a free slot that has it is handed over, unless more would be lost than is gained and
 * there is another slot to copy to; a beginning that is longer in a slot that is taken is copied.
 */
export function choose(sequence: Sequence | undefined, candidates: Candidates): Choice {
  const { free, slots, trie, canCopy, growsFreely, groupsFor } = candidates;
  let own: { slot: Slot; common: number } | undefined;
  let other: { slot: Slot; common: number } | undefined;
  for (const match of sequence ? trie.matches(sequence.tokens) : []) {
    if (match.common < LEAST_PREFIX) break;
    const slot = slots[match.slot]!;
    const common = usable(slot, match.common, sequence!, candidates);
    if (common < LEAST_PREFIX) continue;
    if (!slot.taken && free.includes(slot)) {
      if (common > (own?.common ?? 0)) own = { slot, common };
    } else if (common > (other?.common ?? 0)) other = { slot, common };
    if (match.common <= (own?.common ?? 0)) break;
  }
  if (own && own.common >= (other?.common ?? 0)) {
    const lost = trie.length(own.slot.id) - own.common;
    const rest = free.filter((slot) => slot !== own.slot && trie.length(slot.id) === 0);
    if (canCopy && lost > own.common && rest.length > 0) {
      const slot = chooseSlot({ ...candidates, free: rest });
      if (growsFreely(slot, groupsFor(own.common))) return { slot, common: own.common, source: own.slot };
    }
    return own;
  }
  if (other && canCopy) return { slot: chooseSlot(candidates), common: other.common, source: other.slot };
  return own ?? { slot: chooseSlot(candidates), common: 0 };
}

/** How many of the tokens in common can stand for those of the sequence: all but the last at most, of which the logits are wanted. */
function usable(slot: Slot, common: number, { tokens, promptLength }: Sequence, { promptsDiffer }: Candidates): number {
  const most = Math.min(common, tokens.length - 1, slot.taken ? slot.length : common);
  // With the same prompt, all rows were marked in the same way.
  if (!promptsDiffer || slot.promptLength === promptLength) return most;
  return Math.min(most, slot.promptLength, promptLength);
}
