import { describe, expect, it } from 'vitest';
import { fakeMemory, smallLayout } from '../../test/fakeMemory.ts';
import { tokenTrie } from '../prefix/tokenTrie.ts';
import { groupsOf } from './groups.ts';
import { createLedger } from './ledger.ts';
import { freeSlots, type Slot } from './slots.ts';

// A group is 6 tokens in bytes; runs are 4 tokens.
const GROUP = 4 * 96;

/** Three slots: 0 runs with 10 tokens, 1 ended with 20 tokens and 2 with 8, all with more groups than that takes. */
function given(options: { budgetGroups?: number; warmGroups?: number } = {}) {
  const layout = { ...smallLayout, slots: 4 };
  const fake = fakeMemory(layout);
  const groups = groupsOf(layout, fake.memory, 96);
  const slots = freeSlots(4);
  const trie = tokenTrie();
  const set = (slot: Slot, mapped: number, rest: Partial<Slot>) => {
    Object.assign(slot, { mapped, ...rest });
    fake.memory.commit(slot.id, 0, groups.tokensIn(mapped));
  };
  set(slots[0]!, 6, { taken: true, length: 10, reserved: 10, usedAt: 1 });
  set(slots[1]!, 5, { usedAt: 2 });
  set(slots[2]!, 4, { usedAt: 3 });
  trie.extend(1, Array(20).fill(1), 20);
  trie.extend(2, Array(8).fill(2), 8);
  const { budgetGroups = 60, warmGroups = 60 } = options;
  const ledger = createLedger({
    ...{ slots, groups, memory: fake.memory, trie, eagerTokens: 8, capacity: layout.capacity },
    ...{ budgetBytes: budgetGroups * GROUP, warmBytes: warmGroups * GROUP },
  });
  const mapped = () => slots.map((slot) => slot.mapped);
  return { fake, slots, trie, ledger, groups, mapped };
}

describe('ledger', () => {
  it('counts as warm what is neither of a sequence nor ahead of one', () => {
    const { ledger, groups } = given();
    expect(groups.groupBytes * 4).toBe(GROUP);
    // Ten tokens and eight ahead take 4 groups of the 6; then 5 and 4.
    expect([ledger.committed(), ledger.warm()]).toEqual([15 * GROUP, 11 * GROUP]);
  });

  it('gives back what holds nothing, then the oldest tokens from their end, then what is ahead', () => {
    const { ledger, mapped, trie } = given();
    const steps = [11, 10, 8, 5, 4, 3, 1, 0].map((left) => [
      ledger.trim(left * GROUP) / GROUP,
      mapped(),
      trie.length(1),
      trie.length(2),
    ]);
    expect(steps).toEqual([
      // Of slot 0, 10 tokens take 2 groups at least: 4 are not needed, and 9 of the others.
      [2, [4, 5, 4, 0], 20, 8],
      [1, [4, 4, 4, 0], 20, 8],
      [2, [4, 4, 2, 0], 20, 8],
      [3, [4, 1, 2, 0], 4, 8],
      [1, [4, 0, 2, 0], 0, 8],
      [1, [4, 0, 1, 0], 0, 4],
      [2, [3, 0, 0, 0], 0, 0],
      [1, [2, 0, 0, 0], 0, 0],
    ]);
  });

  it('takes warm memory when the budget is exhausted, and refuses before it takes any that would not do', () => {
    const { ledger, slots, mapped } = given({ budgetGroups: 16 });
    const [running, , , other] = slots as [Slot, Slot, Slot, Slot];
    other.taken = true;
    expect(() =>
      ledger.grow(
        new Map([
          [running, 15],
          [other, 2],
        ]),
      ),
    ).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_KV_BUDGET',
        message: `The sequences that run have the budget of ${16 * GROUP} bytes; ${10 * GROUP} more are needed. Let a sequence end first, or raise budgetBytes of vattention.`,
      }),
    );
    expect(mapped()).toEqual([6, 5, 4, 0]);
    ledger.grow(
      new Map([
        [running, 7],
        [other, 3],
      ]),
    );
    expect(mapped()).toEqual([7, 4, 2, 3]);
  });

  it('takes back a growth that failed, and says so', () => {
    const { ledger, slots, fake, mapped } = given();
    let calls = 0;
    fake.fails.commit = () => ++calls === 2;
    const targets = new Map([
      [slots[0]!, 9],
      [slots[1]!, 7],
      [slots[2]!, 8],
    ]);
    expect(() => ledger.grow(targets)).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_OUT_OF_MEMORY',
        message: expect.stringContaining('Memory of slot 1 could not be committed.'),
      }),
    );
    expect(mapped()).toEqual([6, 5, 4, 0]);
    expect([...fake.committed]).toEqual([36, 28, 24, 0]);
    expect(ledger.counts).toMatchObject({ grows: 0 });
    ledger.grow(targets);
    expect(mapped()).toEqual([9, 7, 8, 0]);
  });

  it('keeps in its books what the system does not take back, and forgets what it held', () => {
    const { ledger, trie, fake, mapped } = given();
    const state = () => [mapped(), trie.length(1), trie.length(2)];
    fake.fails.release = () => true;
    // What was asked back first held nothing.
    expect([ledger.trim(0), state()]).toEqual([0, [[6, 5, 4, 0], 20, 8]]);
    fake.fails.release = () => false;
    expect([ledger.trim(8 * GROUP), state()]).toEqual([5 * GROUP, [[4, 4, 2, 0], 20, 8]]);
    fake.fails.release = () => true;
    expect([ledger.trim(0), state()]).toEqual([0, [[4, 4, 2, 0], 0, 0]]);
    expect(ledger.counts).toMatchObject({ releases: 3, failedReleases: 6 });
    fake.fails.release = () => false;
    expect(ledger.trim(0)).toBe(8 * GROUP);
  });

  it('commits ahead for the sequence that is nearest to its end, of free memory alone', () => {
    const { ledger, slots, fake, mapped } = given({ budgetGroups: 17 });
    fake.memory.commit(3, 0, 4);
    Object.assign(slots[3]!, { taken: true, length: 1, reserved: 1, mapped: 1 });
    expect([ledger.growAhead(), ledger.growAhead(), mapped()]).toEqual([true, false, [6, 5, 4, 2]]);
  });

  it('admits nobody who would stop the next step of another', () => {
    const { ledger, slots } = given({ budgetGroups: 8 });
    Object.assign(slots[0]!, { length: 16, reserved: 16, mapped: 3 });
    expect(ledger.admitting(4, 0).map(({ id }) => id)).toEqual([1, 2, 3]);
    expect(ledger.admitting(6, 0)).toEqual([]);
    Object.assign(slots[0]!, { length: 18, reserved: 18 });
    expect(ledger.admitting(5, 0)).toEqual([]);
  });
});
