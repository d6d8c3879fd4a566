import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../test/backends.ts';
import { quantizedGraph } from '../../../test/quantizedGraph.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Executable } from '../backend.ts';
import { reference } from '../reference/index.ts';
import { wasm } from './index.ts';

const sizes = fc
  .record({
    seed: fc.integer({ min: 1, max: 1e6 }),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.constantFrom(4, 8, 20, 64),
    width: fc.integer({ min: 1, max: 70 }),
    ffn: fc.oneof(fc.integer({ min: 1, max: 150 }), fc.integer({ min: 500, max: 700 })),
    vocabulary: fc.integer({ min: 2, max: 130 }),
    untied: fc.boolean(),
    rows: fc.integer({ min: 1, max: 13 }),
    threads: fc.integer({ min: 1, max: 3 }),
  })
  .map(({ group, ...rest }) => ({ ...rest, heads: rest.kvHeads * group, layers: 1 }));

/** Every float value of the graph for a sequence given as one batch. */
async function allValues(
  executable: Executable,
  graph: Graph,
  tokens: number[],
): Promise<Record<string, Float32Array>> {
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

/** Largest difference relative to the largest number of the value. */
function relativeError(actual: Float32Array, expected: Float32Array): number {
  let difference = 0;
  let largest = 1e-6;
  for (let i = 0; i < expected.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / largest;
}

describe('every op against its reference kernel, over random sizes', () => {
  // float32: rounding of sums of up to 150 terms. int8, against the same quantised weights: activations in steps of 1/29,000 of the
  // largest, passed on through a whole layer; a layer of few numbers may be all cancellation, which magnifies the steps.
  it.each([
    { precision: 'float32', tolerance: 2e-5, narrow: 1e-3 },
    { precision: 'int8', tolerance: 2e-3, narrow: 0.1 },
  ] as const)('$precision', { timeout: 120_000 }, async ({ precision, tolerance, narrow }) => {
    await fc.assert(
      fc.asyncProperty(sizes, async ({ rows, threads, ...model }) => {
        const graph = randomGraph(model);
        const tokens = Array.from({ length: rows }, (_, i) => (i * 7 + model.seed) % model.vocabulary);
        const oracle = await compile(reference(), precision === 'int8' ? await quantizedGraph(graph) : graph);
        const executable = await compile(wasm({ threads, precision }), graph);
        try {
          const expected = await allValues(oracle, graph, tokens);
          const actual = await allValues(executable, graph, tokens);
          for (const [name, value] of Object.entries(expected)) {
            expect(relativeError(actual[name]!, value), name).toBeLessThan(
              Math.min(model.width, model.ffn) < 8 ? narrow : tolerance,
            );
          }
        } finally {
          await executable.dispose();
        }
      }),
      { numRuns: 40 },
    );
  });
});

describe('many positions', () => {
  // int16 keys and values have steps of 1/32,767 of the largest of their head.
  it.each([
    { kv: 'float32', tolerance: 5e-5 },
    { kv: 'int16', tolerance: 5e-4 },
  ] as const)('stays with the reference over a long sequence, keys and values in $kv', async ({ kv, tolerance }) => {
    const graph = randomGraph({ context: 640, layers: 1 });
    const tokens = Array.from({ length: 600 }, (_, i) => (i * i + 3) % 101);
    const oracle = await compile(reference(), graph, { maxRows: 64 });
    const executable = await compile(wasm({ precision: 'float32', threads: 2, kv }), graph, { maxRows: 64 });
    const expected = await forwardAlone(oracle, tokens, 50);
    const actual = await forwardAlone(executable, tokens, 50);
    await executable.dispose();
    for (const [i, row] of expected.entries()) expect(relativeError(actual[i]!, row)).toBeLessThan(tolerance);
  });
});
