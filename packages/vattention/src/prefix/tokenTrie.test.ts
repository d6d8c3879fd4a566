import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tokenTrie } from './tokenTrie.ts';

const list = fc.array(fc.nat(2), { maxLength: 12 });
const slot = fc.nat(4);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('extend' as const), slot, more: list }),
  fc.record({ kind: fc.constant('truncate' as const), slot, length: fc.nat(14) }),
);

function sharedLength(a: readonly number[], b: readonly number[]): number {
  let shared = 0;
  while (shared < a.length && a[shared] === b[shared]) shared++;
  return shared;
}

describe('token trie', () => {
  it('finds what plain lists share, most first', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), fc.array(list, { maxLength: 4 }), (operations, queries) => {
        const trie = tokenTrie();
        const lists = new Map<number, number[]>();
        for (const op of operations) {
          const before = lists.get(op.slot) ?? [];
          const after = op.kind === 'extend' ? [...before, ...op.more] : before.slice(0, op.length);
          if (op.kind === 'extend') trie.extend(op.slot, [...after, 9, 9], after.length);
          else trie.truncate(op.slot, op.length);
          lists.set(op.slot, after);
          for (const [of, tokens] of lists) expect(trie.length(of)).toBe(tokens.length);
          for (const query of [...queries, ...lists.values()]) {
            const found = [...trie.matches(query)];
            const plain = [...lists].flatMap(([of, tokens]) => {
              const common = sharedLength(query, tokens);
              return common > 0 ? [{ slot: of, common }] : [];
            });
            const bySlot = (a: { slot: number }, b: { slot: number }) => a.slot - b.slot;
            expect([...found].sort(bySlot)).toEqual(plain.sort(bySlot));
            expect(found.map(({ common }) => common)).toEqual(found.map(({ common }) => common).sort((a, b) => b - a));
          }
        }
      }),
      { numRuns: 500 },
    );
  });

  it('does not go on with a list that it was only lent', () => {
    const trie = tokenTrie();
    const tokens = [1, 2, 3];
    trie.extend(0, tokens, 3);
    tokens[0] = 7;
    expect([...trie.matches([1, 2, 3])]).toEqual([{ slot: 0, common: 3 }]);
  });
});
