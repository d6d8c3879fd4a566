import { bytesPerToken, type KvMemory } from '@llmopt/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { groupsOf } from './groups.ts';

const sizes = fc.record({
  layers: fc.integer({ min: 1, max: 3 }),
  kvHeads: fc.integer({ min: 1, max: 3 }),
  headDim: fc.integer({ min: 1, max: 20 }).map((half) => half * 2),
  capacity: fc.integer({ min: 1, max: 300 }),
  elementType: fc.constantFrom('float32' as const, 'int16' as const),
  leastBytes: fc.integer({ min: 1, max: 20_000 }),
  pageBytes: fc.constantFrom(1, 64, 4096),
  isManaged: fc.boolean(),
});

it('counts whole pages, has room for what it counts, and ends where the range does', () => {
  fc.assert(
    fc.property(sizes, ({ leastBytes, pageBytes, isManaged, ...rest }) => {
      const layout = { ...rest, slots: 1 };
      const ranges = 2 * layout.layers;
      const rangeBytes = (tokens: number) => (Math.ceil(tokens / 16) * 16 * bytesPerToken(layout)) / ranges;
      const memory = isManaged ? ({ ranges, pageBytes, rangeBytes } as KvMemory) : undefined;
      const groups = groupsOf(layout, memory, leastBytes);
      const { groupBytes, perSlot, groupsFor, tokensIn, bytesOf, groupsWithin } = groups;
      expect(groupBytes).toBeGreaterThanOrEqual(leastBytes);
      if (memory) expect(groupBytes % pageBytes).toBe(0);
      expect([groupsFor(0), tokensIn(0), bytesOf(0)]).toEqual([0, 0, 0]);
      expect([groupsFor(layout.capacity), tokensIn(perSlot)]).toEqual([perSlot, layout.capacity]);
      for (let tokens = 1; tokens <= layout.capacity; tokens++) {
        const count = groupsFor(tokens);
        expect(tokensIn(count)).toBeGreaterThanOrEqual(tokens);
        expect(tokensIn(count - 1)).toBeLessThan(tokens);
        expect(bytesOf(count)).toBeGreaterThanOrEqual(tokens * bytesPerToken(layout));
      }
      for (let count = 1; count <= perSlot; count++) {
        expect(groupsFor(tokensIn(count))).toBe(count);
        expect(bytesOf(groupsWithin(bytesOf(count)))).toBeLessThanOrEqual(bytesOf(count));
      }
    }),
  );
});
