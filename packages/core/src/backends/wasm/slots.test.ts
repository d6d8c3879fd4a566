import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, randomGraph } from '../../../test/backends.ts';
import { type Graph, withParams } from '../../graph/graph.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import type { CompileOptions } from '../backend.ts';
import { createArena } from './arena.ts';
import { wasm } from './index.ts';
import { placeSlots } from './slots.ts';

// Of Phi-2: a slot of 2,048 tokens takes 1.34 GB in float32.
const phi = { config: { layers: 32, kvHeads: 32, headDim: 80 } } as Graph;
const weightsBytes = 2_820_000_000;

function place(options: Partial<CompileOptions>, kv: 'float32' | 'int16' = 'float32') {
  const arena = createArena();
  arena.allocate(weightsBytes, 'weights');
  const placed = placeSlots(
    phi,
    weightsBytes,
    arena,
    { kv },
    {
      ...{ slots: 4, contextLength: 2048, maxRows: 32, kvCache: contiguousKvCache, modelKey: '', cacheDir: undefined },
      ...options,
    },
  );
  return { ...placed, end: arena.position() };
}

describe('slots', () => {
  it('are as many as fit, where fewer will do', () => {
    expect(place({ leastSlots: 1 }).layout).toMatchObject({ slots: 1, capacity: 2048, elementType: 'float32' });
    expect(place({ leastSlots: 1 }, 'int16').layout.slots).toBe(2);
    expect(place({ leastSlots: 1, contextLength: 512 }).layout.slots).toBe(4);
    expect(place({ leastSlots: 1, contextLength: 16 }).layout.slots).toBe(4);
  });

  it('lie one behind the other, behind the weights', () => {
    const { bases, end } = place({ contextLength: 512 });
    const slotBytes = 512 * 32 * 32 * 80 * 2 * 4;
    expect(bases).toEqual([0, 1, 2, 3].map((slot) => bases[0]! + slot * slotBytes));
    expect(bases[0]).toBeGreaterThanOrEqual(weightsBytes);
    expect(end).toBe(bases[3]! + slotBytes);
  });

  it('that do not fit are refused, with what would fit', () => {
    expect(() => place({})).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_OUT_OF_MEMORY',
        message: expect.stringMatching(
          /4 slots of 2048 tokens take 5369 MB.*This would fit: at most 1 slot, or a contextLength of at most \d+\./,
        ),
      }),
    );
    expect(() => place({ slots: 2 })).toThrow(/or wasm\(\{ kv: 'int16' \}\)/);
    expect(() => place({ slots: 1, contextLength: 100_000 })).toThrow(/would fit: a contextLength of at most \d+\./);
  });

  it('fit with what the error says', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 100_000 }), (slots, contextLength) => {
        try {
          place({ slots, contextLength });
        } catch (error) {
          const { message } = error as Error;
          const [, fewer] = /at most (\d+) slots?/.exec(message) ?? [];
          const [, shorter] = /contextLength of at most (\d+)/.exec(message) ?? [];
          if (fewer) expect(place({ slots: Number(fewer), contextLength }).layout.slots).toBe(Number(fewer));
          expect(place({ slots, contextLength: Number(shorter) }).layout.slots).toBe(slots);
          if (message.includes('int16')) expect(place({ slots, contextLength }, 'int16').layout.slots).toBe(slots);
        }
      }),
      { numRuns: 30 },
    );
  });

  it('that do not fit fail before a weight is read', async () => {
    const graph = randomGraph();
    const unread = withParams(
      graph,
      Array.from(graph.params, ([name, param]) => [
        name,
        { ...param, read: () => Promise.reject(new Error('was read')) },
      ]),
    );
    // 384 bytes per token: 6.4 GB.
    await expect(compile(wasm({ threads: 1 }), unread, { slots: 1024, contextLength: 16_384 })).rejects.toMatchObject({
      code: 'LLMOPT_OUT_OF_MEMORY',
    });
    await expect(compile(wasm({ threads: 1 }), unread)).rejects.toThrow('was read');
  });
});
