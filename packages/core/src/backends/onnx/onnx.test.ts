import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, forwardAlone, forwardPieces, randomGraph } from '../../../test/backends.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Executable } from '../backend.ts';
import { reference } from '../reference/index.ts';
import { onnx } from './index.ts';

const sizes = fc
  .record({
    seed: fc.integer({ min: 1, max: 1e6 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(2, 6, 20, 64),
    width: fc.integer({ min: 1, max: 70 }),
    ffn: fc.integer({ min: 1, max: 150 }),
    vocabulary: fc.integer({ min: 2, max: 130 }),
    untied: fc.boolean(),
    rows: fc.integer({ min: 1, max: 13 }),
  })
  .map(({ group, ...rest }) => ({ ...rest, heads: rest.kvHeads * group, layers: 1 }));

/** Every value of the graph for a sequence given as one batch. */
async function allValues(executable: Executable, graph: Graph, tokens: number[]) {
  const slot = executable.kv.acquire()!;
  const rows = tokens.map((_, i) => i);
  const { values } = await executable.forward({
    tokens,
    slots: rows.map(() => slot),
    positions: rows,
    logits: rows,
    values: [...checkGraph(graph).keys()].map((name) => ({ name, rows })),
  });
  return values;
}

/** Largest difference relative to the largest number. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let largest = 1e-6;
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / largest;
}

describe('every op of a model against its reference kernel', () => {
  it('over random sizes', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ rows, ...model }) => {
        const graph = randomGraph(model);
        const tokens = Array.from({ length: rows }, (_, i) => (i * 7 + model.seed) % model.vocabulary);
        const expected = await allValues(await compile(reference(), graph), graph, tokens);
        const executable = await compile(onnx({ values: true, threads: 1 }), graph);
        try {
          const actual = await allValues(executable, graph, tokens);
          // Rounding of sums of up to 150 terms; a layer of few numbers may be all cancellation.
          const tolerance = Math.min(model.width, model.ffn) < 8 ? 1e-3 : 2e-5;
          for (const [name, value] of Object.entries(expected)) {
            expect(relativeError(actual[name]!, value), name).toBeLessThan(tolerance);
          }
        } finally {
          await executable.dispose();
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('sequences', () => {
  const graph = randomGraph();
  const tokens = Array.from({ length: 40 }, (_, i) => (i * i + 3) % 101);
  const tolerance = 2e-5;

  it.each([1, 7, 32])('%i tokens at a time give the logits of the reference', async (chunk) => {
    const expected = await forwardAlone(await compile(reference(), graph), tokens, 32);
    const executable = await compile(onnx({ threads: 1 }), graph);
    const actual = await forwardAlone(executable, tokens, chunk);
    await executable.dispose();
    for (const [i, row] of expected.entries()) expect(relativeError(actual[i]!, row)).toBeLessThan(tolerance);
  });

  it('several in one batch, in any order of rows, get what each gets alone', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const alone = await forwardAlone(executable, tokens, 5);
    const other = tokens.map((token) => (token + 50) % 101);
    const otherAlone = await forwardAlone(executable, other, 5);
    const [a, b] = [executable.kv.acquire()!, executable.kv.acquire()!];
    for (let at = 0; at < tokens.length; at += 5) {
      const rows = [0, 1, 2, 3, 4].flatMap((i) => [
        { slot: b, token: other[at + i]!, position: at + i },
        { slot: a, token: tokens[at + i]!, position: at + i },
      ]);
      const { logits } = await executable.forward({
        tokens: rows.map(({ token }) => token),
        slots: rows.map(({ slot }) => slot),
        positions: rows.map(({ position }) => position),
        // The last of each, and one in the middle; the order is the caller's.
        logits: [9, 8, 1],
      });
      const row = (n: number) => logits.slice(n * 101, (n + 1) * 101);
      expect(row(0)).toEqual(alone[at + 4]);
      expect(row(1)).toEqual(otherAlone[at + 4]);
      expect(row(2)).toEqual(alone[at]);
    }
    await executable.dispose();
  });

  it('go on from where the cache was cut, and begin anew in a slot that came back', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph, { slots: 1 });
    const slot = executable.kv.acquire()!;
    const first = await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 12) }]);
    executable.kv.truncate(slot, 8);
    const again = await forwardPieces(executable, [{ slot, tokens: tokens.slice(8, 12) }]);
    for (const [i, row] of again.entries()) expect(relativeError(row, first[8 + i]!)).toBeLessThan(tolerance);
    executable.kv.release(slot);
    expect(executable.kv.acquire()).toBe(slot);
    const anew = await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 12) }]);
    expect(anew).toEqual(first);
    await executable.dispose();
  });

  it('answer with no logits when none are asked for', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const slot = executable.kv.acquire()!;
    const { logits } = await executable.forward({ tokens: [1, 2], slots: [slot, slot], positions: [0, 1], logits: [] });
    expect(logits.length).toBe(0);
    expect(executable.kv.length(slot)).toBe(2);
    await executable.dispose();
  });

  it('count what keys and values take', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const slot = executable.kv.acquire()!;
    await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 10) }]);
    const { layers, kvHeads, headDim } = graph.config;
    const bytes = 10 * layers * 2 * kvHeads * headDim * 4;
    expect(executable.memory().kv).toEqual({ reservedBytes: bytes, committedBytes: bytes, liveBytes: bytes });
    await executable.dispose();
  });
});
