import type { Sequence } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { tokenTrie } from '../prefix/tokenTrie.ts';
import { choose, chooseSlot } from './choose.ts';
import { freeSlots } from './slots.ts';

const tokensOf = (length: number, seed = 0) => Array.from({ length }, (_, i) => i * 7 + seed);
const sequence = (tokens: readonly number[], promptLength = tokens.length): Sequence => ({
  id: 0,
  tokens,
  promptLength,
});

/** Slots with so many groups each, of ten tokens. */
function given(mapped: readonly number[], held: Record<number, readonly number[]> = {}, taken: readonly number[] = []) {
  const slots = freeSlots(mapped.length);
  const trie = tokenTrie();
  for (const slot of slots) {
    slot.mapped = mapped[slot.id]!;
    slot.taken = taken.includes(slot.id);
    const tokens = held[slot.id] ?? [];
    trie.extend(slot.id, tokens, tokens.length);
    slot.promptLength = tokens.length;
    if (slot.taken) slot.length = tokens.length;
  }
  return {
    slots,
    trie,
    free: slots.filter((slot) => !slot.taken),
    need: 3,
    growsFreely: () => true,
    groupsFor: (tokens: number) => Math.ceil(tokens / 10),
    canCopy: true,
    promptsDiffer: false,
  };
}

const short = ({ slot, common, source }: ReturnType<typeof choose>) => [slot.id, common, source?.id];

describe('a slot for a sequence that begins like no other', () => {
  it.each([
    ['the smallest with enough', [9, 4, 3, 3, 2], 2],
    ['the largest if none has enough', [0, 2, 1, 2], 1],
    ['the first of equals', [0, 0, 0], 0],
  ])('%s', (_, mapped, expected) => {
    expect(chooseSlot(given(mapped)).id).toBe(expected);
  });

  it('leaves tokens of another sequence alone, unless there is no memory for that', () => {
    const candidates = given([3, 1, 0], { 0: tokensOf(20) });
    expect(chooseSlot(candidates).id).toBe(1);
    expect(chooseSlot({ ...candidates, growsFreely: () => false }).id).toBe(0);
  });
});

describe('a slot for a sequence that begins like another', () => {
  it('is the one that has the longest beginning, but for the last token', () => {
    const held = { 1: tokensOf(20), 2: tokensOf(40) };
    expect(short(choose(sequence(tokensOf(60)), given([9, 2, 4], held)))).toEqual([2, 40, undefined]);
    expect(short(choose(sequence(tokensOf(40)), given([9, 2, 4], held)))).toEqual([2, 39, undefined]);
  });

  it('gets a copy of one that runs, if that is longer', () => {
    const held = { 1: tokensOf(20), 2: tokensOf(40) };
    const candidates = given([9, 2, 4], held, [2]);
    expect(short(choose(sequence(tokensOf(60)), candidates))).toEqual([0, 40, 2]);
    expect(short(choose(sequence(tokensOf(60)), { ...candidates, canCopy: false }))).toEqual([1, 20, undefined]);
  });

  it('does not take more away than it gains, if it can have a copy', () => {
    const held = { 0: [...tokensOf(30), ...tokensOf(50, 1)] };
    const candidates = given([8, 0], held);
    expect(short(choose(sequence(tokensOf(60)), candidates))).toEqual([1, 30, 0]);
    expect(short(choose(sequence(tokensOf(60)), { ...candidates, growsFreely: () => false }))).toEqual([
      0,
      30,
      undefined,
    ]);
    expect(short(choose(sequence(tokensOf(60)), { ...candidates, canCopy: false }))).toEqual([0, 30, undefined]);
  });

  it('counts nothing below 16 tokens, and of one that runs only what is there', () => {
    expect(short(choose(sequence(tokensOf(60)), given([1, 9], { 0: tokensOf(15) })))).toEqual([1, 0, undefined]);
    const candidates = given([9, 4], { 1: tokensOf(40) }, [1]);
    candidates.slots[1]!.length = 17;
    expect(short(choose(sequence(tokensOf(60)), candidates))).toEqual([0, 17, 1]);
  });

  it('counts rows of prompts only, where these differ, unless the prompts are the same', () => {
    const candidates = { ...given([4], { 0: tokensOf(40) }), promptsDiffer: true };
    candidates.slots[0]!.promptLength = 30;
    expect(short(choose(sequence(tokensOf(60), 25), candidates))).toEqual([0, 25, undefined]);
    expect(short(choose(sequence(tokensOf(60), 60), candidates))).toEqual([0, 30, undefined]);
    expect(short(choose(sequence(tokensOf(60), 30), candidates))).toEqual([0, 40, undefined]);
  });
});
