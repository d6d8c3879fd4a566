import { type Backend, type CustomOp, channelLists, mapOps, type Op, reference, wasm } from '@llmopt/core';
import { gpu } from '@llmopt/core/gpu';
import { onnx } from '@llmopt/core/onnx';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, randomGraph } from '../../../core/test/backends.ts';
import { gpuModes } from '../../../core/test/gpu.ts';
import { reaching, topK, weighted } from './choose.ts';
import { sparsifyDefinition } from './sparsify.ts';
import { sparsifyGraph } from './sparsifyGraph.ts';

describe('reaching', () => {
  it('lists what reaches the threshold by magnitude, ascending', () => {
    expect([...reaching(Float32Array.of(1, -5, 3, 0, 4), 3)]).toEqual([1, 2, 4]);
  });
  it('lists the first of the largest where nothing does', () => {
    expect([...reaching(Float32Array.of(1, -2, 2), 3)]).toEqual([1]);
    expect([...reaching(new Float32Array(3), 1)]).toEqual([0]);
  });
});

describe('topK', () => {
  it('keeps the largest by magnitude, ascending', () => {
    expect([...topK(Float32Array.of(1, -5, 3, 0, 4), 3)]).toEqual([1, 2, 4]);
  });
  it('keeps the first of equals', () => {
    expect([...topK(Float32Array.of(2, -2, 2, 1), 2)]).toEqual([0, 1]);
  });
});

// The backends with a kernel of their own.
const backends: [name: string, make: (threads: number) => Backend, skip: string | undefined][] = [
  ['wasm', (threads) => wasm({ threads, precision: 'float32' }), undefined],
  ['onnx', () => onnx({ threads: 1, values: true }), undefined],
  ...gpuModes.map(({ mode, title, skip }) => [`gpu ${title}`, () => gpu({ mode }), skip] as (typeof backends)[number]),
];

describe.each(backends)('the kernel of %s', (_, backend, skip) => {
  it.skipIf(skip)(
    'chooses the same channels as the reference, for any width, count, threshold, score, rows and threads',
    { timeout: 120_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.record({
            seed: fc.integer({ min: 1, max: 1e6 }),
            // gpu kernels count a sample of 64 first.
            width: fc.oneof(
              { weight: 4, arbitrary: fc.integer({ min: 1, max: 90 }) },
              fc.integer({ min: 300, max: 600 }),
            ),
            share: fc.double({ min: 0, max: 1, noNaN: true }),
            rows: fc.integer({ min: 1, max: 9 }),
            // The wasm kernel takes hints from one step to the next.
            chunk: fc.constantFrom(1, 3, 9),
            threads: fc.integer({ min: 1, max: 3 }),
            prefill: fc.constantFrom('dense', 'sparse'),
            promptLength: fc.integer({ min: 0, max: 9 }),
            score: fc.constantFrom('magnitude', 'weighted'),
            // The last is reached by nothing.
            threshold: fc.constantFrom(undefined, undefined, 0, 0.3, 1, 1e9),
          }),
          async ({ seed, width, share, rows, chunk, threads, prefill, promptLength, score, threshold }) => {
            const { rewritten: graph } = sparsifyGraph(
              randomGraph({ seed, width, layers: 1 }),
              (_site, inputs) => (threshold === undefined ? Math.max(1, Math.round(inputs * share)) : { threshold }),
              { prefill, score },
            );
            const executable = await compile(backend(threads), graph);
            try {
              const slot = executable.kv.acquire()!;
              // Where all would stay alive there is no list.
              const names = channelLists(graph).map((name) => name.replace('.channels', ''));
              for (let at = 0; at < rows; at += chunk) {
                const all = Array.from({ length: Math.min(chunk, rows - at) }, (_, i) => i);
                const { values } = await executable.forward({
                  tokens: all.map((i) => ((at + i) * 5 + seed) % 101),
                  slots: all.map(() => slot),
                  positions: all.map((i) => at + i),
                  prompt: all.map((i) => (at + i < promptLength ? 1 : 0)),
                  logits: [],
                  values: [...names, ...names.map((name) => `${name}.channels`)].map((name) => ({ name, rows: all })),
                });
                for (const name of names) {
                  const inputs = values[name]!.length / all.length;
                  const norms = await graph.params.get(`${name}.channels.norms`)?.read();
                  const keep = Math.max(1, Math.round(inputs * share));
                  for (const row of all) {
                    const x = values[name]!.subarray(row * inputs, (row + 1) * inputs);
                    const scores = norms ? weighted(x, norms) : x;
                    const some = threshold === undefined ? topK(scores, keep) : reaching(scores, threshold);
                    const expected = prefill === 'dense' && at + row < promptLength ? [...x.keys()] : [...some];
                    const alive = values[`${name}.channels`]!.subarray(row * inputs, (row + 1) * inputs);
                    expect([...alive.keys()].filter((channel) => alive[channel] === 1)).toEqual(expected);
                  }
                }
              }
            } finally {
              await executable.dispose();
            }
          },
        ),
        { numRuns: 25 },
      );
    },
  );

  it.skipIf(skip).each([
    ['Top-K', undefined],
    ['a threshold', 0.4],
  ])('gives a sparse graph the logits of the reference, by %s', async (_name, threshold) => {
    const { rewritten } = sparsifyGraph(
      randomGraph({ width: 72, ffn: 200 }),
      (_site, inputs) => (threshold === undefined ? Math.floor(inputs * 0.6) : { threshold }),
      { score: 'weighted' },
    );
    const tokens = Array.from({ length: 12 }, (_, i) => (i * 17) % 101);
    const run = async (on: Parameters<typeof compile>[0]) => {
      const executable = await compile(on, rewritten);
      const slot = executable.kv.acquire()!;
      const rows = tokens.map((_, i) => i);
      const { logits } = await executable.forward({
        tokens,
        slots: rows.map(() => slot),
        positions: rows,
        prompt: rows.map((i) => (i < 5 ? 1 : 0)),
        logits: rows,
      });
      const copy = logits.slice();
      await executable.dispose();
      return copy;
    };
    const expected = await run(reference());
    const actual = await run(backend(2));
    const largest = Math.max(...expected.map(Math.abs));
    for (const [i, logit] of expected.entries()) expect(Math.abs(actual[i]! - logit) / largest).toBeLessThan(1e-4);
  });

  it.skipIf(skip)('keeps the first of equals at the border, as the reference does', async () => {
    const width = 40;
    const rows = 6;
    const base = randomGraph({ width, layers: 1, vocabulary: rows });
    const sparsify = (keep: number): CustomOp => ({
      kind: 'larosa.sparsify',
      inputs: { input: 'embedded' },
      outputs: { channels: `keep ${keep}` },
      params: {},
      attributes: { keep, prefill: 'dense' },
      definition: sparsifyDefinition,
    });
    // Magnitudes 0, 1 and 2 only, so that every border runs through equals.
    const table = Float32Array.from({ length: rows * width }, (_, i) => ((i * i + (i >> 3)) % 5) - 2);
    const keeps = [1, 7, 20, 33, 40];
    const graph = {
      ...mapOps(base, (op): Op[] => (op.kind === 'embed' ? [op, ...keeps.map(sparsify)] : [op])),
      params: new Map([
        ...base.params,
        ['token_embd.weight', { shape: [rows, width], key: 'ties', read: async () => table }],
      ]),
    };
    const executable = await compile(backend(2), graph);
    const slot = executable.kv.acquire()!;
    const all = Array.from({ length: rows }, (_, i) => i);
    const { values } = await executable.forward({
      tokens: all,
      slots: all.map(() => slot),
      positions: all,
      logits: all,
      values: keeps.map((keep) => ({ name: `keep ${keep}`, rows: all })),
    });
    await executable.dispose();
    for (const keep of keeps) {
      for (const row of all) {
        const alive = values[`keep ${keep}`]!.subarray(row * width, (row + 1) * width);
        const chosen = [...alive.keys()].filter((channel) => alive[channel] === 1);
        expect(chosen).toEqual([...topK(table.subarray(row * width, (row + 1) * width), keep)]);
      }
    }
  });
});
