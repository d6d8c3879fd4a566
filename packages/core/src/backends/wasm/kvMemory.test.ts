import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomGraph } from '../../../test/backends.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import type { KvLayout } from '../../kv/kvCache.ts';
import type { KvMemory } from '../../kv/kvMemory.ts';
import { createArena } from './arena.ts';
import { createKvMemory } from './kvMemory.ts';
import { placeSlots } from './slots.ts';
import { systemPages } from './systemPages.ts';

const noPages = systemPages() ? undefined : 'this Node.js cannot give pages back';
const title = (name: string) => (noPages ? `${name} (${noPages})` : name);

const CAPACITY = 50;
const LAYERS = 2;

/** Three slots of 50 tokens behind something that ends in the middle of a page. */
function memoryOf(layout: Partial<KvLayout> = {}, openPages = systemPages) {
  const { kvHeads, headDim, elementType, capacity } = {
    ...{ kvHeads: 3, headDim: 64, elementType: 'float32' as const, capacity: CAPACITY },
    ...layout,
  };
  const arena = createArena();
  arena.allocate(100, 'something');
  const placed = placeSlots(
    randomGraph({ layers: LAYERS, heads: kvHeads, kvHeads, headDim }),
    0,
    arena,
    { kv: elementType },
    {
      ...{ slots: 3, contextLength: capacity, maxRows: 1, kvCache: contiguousKvCache, modelKey: '' },
      cacheDir: undefined,
    },
  );
  return { arena, ...placed, ...createKvMemory(arena.memory, placed.layout, placed.bases, openPages) };
}

const pagesFor = (kv: KvMemory, tokens: number) => Math.ceil(kv.rangeBytes(tokens) / kv.pageBytes) * kv.ranges;
const randomBytes = (length: number, seed: number) => {
  const bytes = new Uint8Array(length);
  for (let i = 0, x = seed; i < length; i++) {
    x = (x * 1103515245 + 12345) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
};
/** Bytes as `read` gives them, whose tokens are not zero. */
function contentsOf(kv: KvMemory, tokens: number, seed: number): Uint8Array {
  kv.write(2, tokens, randomBytes(kv.ranges * kv.rangeBytes(tokens), seed));
  return kv.read(2, tokens);
}

const elementTypes = ['float32', 'int16'] as const;
const boundaries = [0, 1, 15, 16, 17, 32, 33, 49, CAPACITY];

describe.each(elementTypes)('memory of slots, %s', (elementType) => {
  it('says how many bytes tokens take: whole runs of 16', () => {
    const { kvMemory } = memoryOf({ elementType });
    const run = 16 * 3 * (elementType === 'int16' ? 64 * 2 + 4 : 64 * 4);
    expect(kvMemory.ranges).toBe(2 * LAYERS);
    expect([0, 1, 15, 16, 17, 50].map(kvMemory.rangeBytes)).toEqual([0, run, run, run, 2 * run, 4 * run]);
  });

  it.skipIf(noPages)(title('becomes resident with commit, and is given back, exact to pages'), () => {
    const { kvMemory } = memoryOf({ elementType });
    const resident = () => kvMemory.residentBytes()! / kvMemory.pageBytes;
    expect(kvMemory.giveBack).toBe('madvise');
    expect(resident()).toBe(0);
    for (const tokens of boundaries) {
      kvMemory.commit(1, 0, tokens);
      expect(resident(), `${tokens} tokens`).toBe(pagesFor(kvMemory, tokens));
      kvMemory.commit(0, 0, CAPACITY);
      kvMemory.commit(1, tokens, CAPACITY);
      expect(resident()).toBe(2 * pagesFor(kvMemory, CAPACITY));
      kvMemory.release(1, tokens);
      expect(resident(), `${tokens} tokens kept`).toBe(pagesFor(kvMemory, CAPACITY) + pagesFor(kvMemory, tokens));
      kvMemory.release(0, 0);
      kvMemory.release(1, 0);
      expect(resident()).toBe(0);
    }
  });

  it.skipIf(noPages)(title('keeps what it holds of the tokens that stay'), () => {
    const { kvMemory } = memoryOf({ elementType });
    for (const tokens of boundaries) {
      for (const slot of [0, 1]) {
        kvMemory.write(slot, CAPACITY, randomBytes(kvMemory.ranges * kvMemory.rangeBytes(CAPACITY), slot + 1));
      }
      const [kept, neighbour] = [kvMemory.read(1, tokens), kvMemory.read(0, CAPACITY)];
      kvMemory.release(1, tokens);
      kvMemory.commit(1, tokens, CAPACITY);
      expect(kvMemory.read(1, tokens)).toEqual(kept);
      expect(kvMemory.read(0, CAPACITY)).toEqual(neighbour);
      const nextRun = Math.ceil(tokens / 16) * 16;
      const inPage = Math.ceil(kvMemory.rangeBytes(tokens) / kvMemory.pageBytes) * kvMemory.pageBytes;
      const range = kvMemory.read(1, CAPACITY).subarray(0, kvMemory.rangeBytes(CAPACITY));
      if (nextRun < CAPACITY) expect(range.subarray(inPage).every((byte) => byte === 0)).toBe(true);
    }
  });

  it('agrees with a plain model over random operations', { timeout: 60_000 }, () => {
    const slot = fc.nat(1);
    const length = fc.oneof(fc.constantFrom(...boundaries), fc.nat(CAPACITY));
    const operation = fc.oneof(
      fc.record({ kind: fc.constant('commit' as const), slot, from: length, length }),
      fc.record({ kind: fc.constant('release' as const), slot, length }),
      fc.record({ kind: fc.constant('write' as const), slot, length, seed: fc.nat(1000) }),
      fc.record({ kind: fc.constant('copy' as const), slot, length }),
    );
    const { kvMemory } = memoryOf({ elementType });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 25 }), (operations) => {
        // Of each slot the bytes of its live tokens, and how many tokens are surely resident, and at most.
        const model = [0, 1].map(() => ({ bytes: new Uint8Array() as Uint8Array, tokens: 0, resident: 0 }));
        for (const slot of [0, 1, 2]) kvMemory.release(slot, 0);
        for (const op of operations) {
          const state = model[op.slot]!;
          if (op.kind === 'commit') {
            kvMemory.commit(op.slot, Math.min(op.from, state.resident), op.length);
            state.resident = Math.max(state.resident, op.length);
          } else if (op.kind === 'release') {
            state.tokens = Math.min(op.length, state.tokens);
            state.resident = Math.min(op.length, state.resident);
            state.bytes = kvMemory.read(op.slot, state.tokens);
            kvMemory.release(op.slot, op.length);
          } else if (op.kind === 'write') {
            state.bytes = contentsOf(kvMemory, op.length, op.seed);
            kvMemory.write(op.slot, op.length, state.bytes);
            kvMemory.release(2, 0);
            state.tokens = op.length;
            state.resident = Math.max(state.resident, op.length);
          } else {
            const source = model[1 - op.slot]!;
            const tokens = Math.min(op.length, source.tokens);
            kvMemory.copy(1 - op.slot, op.slot, tokens);
            state.bytes = kvMemory.read(1 - op.slot, tokens);
            state.tokens = tokens;
            state.resident = Math.max(state.resident, tokens);
          }
          for (const [slot, { bytes, tokens }] of model.entries()) {
            expect(Buffer.compare(kvMemory.read(slot, tokens), bytes)).toBe(0);
          }
          if (!noPages) {
            expect(kvMemory.residentBytes()! / kvMemory.pageBytes).toBe(
              pagesFor(kvMemory, model[0]!.resident) + pagesFor(kvMemory, model[1]!.resident),
            );
          }
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('memory of slots', () => {
  it('is read with zeros behind the last token, where a sequence before may have left something', () => {
    for (const elementType of elementTypes) {
      const { kvMemory } = memoryOf({ elementType, kvHeads: 2, headDim: 4 });
      kvMemory.write(0, 32, new Uint8Array(kvMemory.ranges * kvMemory.rangeBytes(32)).fill(1));
      const [run] = chunks(kvMemory.read(0, 18), kvMemory.rangeBytes(32)).map((range) =>
        range.subarray(range.length / 2),
      );
      const [tokenBytes, scaleBytes] = elementType === 'int16' ? [8, 4] : [16, 0];
      const head = [2, 14].flatMap((tokens, i) => Array(tokens * tokenBytes).fill(1 - i));
      const scales = [2, 14].flatMap((tokens, i) => Array(tokens * scaleBytes).fill(1 - i));
      expect([...run!]).toEqual([...head, ...scales, ...head, ...scales]);
    }
  });

  it.skipIf(noPages)(title('is the same after the WebAssembly memory has grown'), () => {
    const { arena, kvMemory } = memoryOf();
    kvMemory.commit(0, 0, 20);
    arena.allocate(300e6, 'more');
    expect(kvMemory.residentBytes()).toBe(pagesFor(kvMemory, 20) * kvMemory.pageBytes);
    kvMemory.release(0, 16);
    expect(kvMemory.residentBytes()).toBe(pagesFor(kvMemory, 16) * kvMemory.pageBytes);
  });

  it('stays where it cannot be given back', () => {
    for (const pages of [undefined, { ...scripted(), pageBytes: 65_536 }]) {
      const { kvMemory } = memoryOf({}, () => pages);
      const bytes = contentsOf(kvMemory, 20, 1);
      expect(kvMemory.giveBack).toBe('none');
      expect(kvMemory.residentBytes()).toBeUndefined();
      kvMemory.release(2, 0);
      expect(kvMemory.read(2, 20)).toEqual(bytes);
    }
  });

  it('says so when the system refuses to take it back, and has asked for all of it', () => {
    const system = scripted([false]);
    const { kvMemory } = memoryOf({}, () => system);
    expect(() => kvMemory.release(1, 16)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_KV_MEMORY', where: { slot: 1, tokens: 16, refused: 1 } }),
    );
    expect(system.discarded).toHaveLength(kvMemory.ranges);
    expect(() => kvMemory.release(1, 16)).not.toThrow();
  });

  it('is given back in one piece when nothing is kept, and not at all when everything is', () => {
    const system = scripted();
    const { kvMemory, bases } = memoryOf({}, () => system);
    kvMemory.release(1, CAPACITY);
    expect(system.discarded).toEqual([]);
    kvMemory.release(1, 0);
    expect(system.discarded).toEqual([[bases[1], bases[2]]]);
  });

  it('refuses what is not there, and changes nothing', () => {
    const { kvMemory } = memoryOf();
    const bytes = contentsOf(kvMemory, CAPACITY, 1);
    const full = expect.objectContaining({ code: 'LLMOPT_KV_FULL' });
    const invalid = expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' });
    expect(() => kvMemory.commit(2, 0, CAPACITY + 1)).toThrow(full);
    expect(() => kvMemory.read(2, CAPACITY + 1)).toThrow(full);
    expect(() => kvMemory.copy(1, 2, CAPACITY + 1)).toThrow(full);
    expect(() => kvMemory.copy(3, 2, 1)).toThrow(invalid);
    expect(() => kvMemory.release(3, 0)).toThrow(invalid);
    expect(() => kvMemory.release(2, -1)).toThrow(invalid);
    expect(() => kvMemory.write(2, 17, new Uint8Array(kvMemory.ranges * kvMemory.rangeBytes(16)))).toThrow(invalid);
    expect(kvMemory.read(2, CAPACITY)).toEqual(bytes);
  });

  it('is let go when its executable is disposed', () => {
    const { kvMemory, close } = memoryOf();
    close();
    const disposed = expect.objectContaining({ code: 'LLMOPT_DISPOSED' });
    expect(() => kvMemory.commit(0, 0, 1)).toThrow(disposed);
    expect(() => kvMemory.read(0, 1)).toThrow(disposed);
    kvMemory.release(0, 0);
    expect(kvMemory.residentBytes()).toBeUndefined();
  });
});

function chunks(bytes: Uint8Array, length: number) {
  return Array.from({ length: bytes.length / length }, (_, i) => bytes.subarray(i * length, (i + 1) * length));
}

/** A system that gives these answers, and then always true. */
function scripted(answers: boolean[] = []) {
  const discarded: [number, number][] = [];
  return {
    pageBytes: 4096,
    discarded,
    discard(_: WebAssembly.Memory, from: number, to: number) {
      discarded.push([from, to]);
      return answers.shift() ?? true;
    },
    resident: () => undefined,
  };
}
