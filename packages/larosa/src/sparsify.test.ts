import { reference, wasm } from '@llmopt/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, randomGraph } from '../../core/test/backends.ts';
import { sparsifyGraph } from './larosa.ts';
import { topK } from './sparsify.ts';

describe('topK', () => {
  it('keeps the largest by magnitude, ascending', () => {
    expect([...topK(Float32Array.of(1, -5, 3, 0, 4), 3)]).toEqual([1, 2, 4]);
  });
  it('keeps the first of equals', () => {
    expect([...topK(Float32Array.of(2, -2, 2, 1), 2)]).toEqual([0, 1]);
  });
});

describe('the wasm kernel', () => {
  it('chooses the same channels as topK, for any width, count, rows and threads', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer({ min: 1, max: 1e6 }),
          width: fc.integer({ min: 1, max: 90 }),
          share: fc.double({ min: 0, max: 1, noNaN: true }),
          rows: fc.integer({ min: 1, max: 9 }),
          threads: fc.integer({ min: 1, max: 3 }),
        }),
        async ({ seed, width, share, rows, threads }) => {
          const { rewritten: graph } = sparsifyGraph(randomGraph({ seed, width, layers: 1 }), (_site, inputs) =>
            Math.max(1, Math.round(inputs * share)),
          );
          const executable = await compile(wasm({ threads, precision: 'float32' }), graph);
          try {
            const slot = executable.kv.acquire()!;
            const all = Array.from({ length: rows }, (_, i) => i);
            const names = ['0.attentionNorm', '0.attention', '0.ffnNorm', '0.gated'];
            const { values } = await executable.forward({
              tokens: all.map((i) => (i * 5 + seed) % 101),
              slots: all.map(() => slot),
              positions: all,
              logits: [],
              values: [...names, ...names.map((name) => `${name}.channels`)].map((name) => ({ name, rows: all })),
            });
            for (const name of names) {
              const inputs = values[name]!.length / rows;
              const keep = Math.max(1, Math.round(inputs * share));
              for (let row = 0; row < rows; row++) {
                const alive = values[`${name}.channels`]!.subarray(row * inputs, (row + 1) * inputs);
                const chosen = [...alive.keys()].filter((channel) => alive[channel] === 1);
                expect(chosen).toEqual([...topK(values[name]!.subarray(row * inputs, (row + 1) * inputs), keep)]);
              }
            }
          } finally {
            await executable.dispose();
          }
        },
      ),
      { numRuns: 30 },
    );
  });
});

it('a sparse graph gives the same logits on wasm as on the reference', async () => {
  const { rewritten } = sparsifyGraph(randomGraph({ width: 72, ffn: 200 }), (_site, inputs) =>
    Math.floor(inputs * 0.6),
  );
  const tokens = Array.from({ length: 12 }, (_, i) => (i * 17) % 101);
  const run = async (backend: Parameters<typeof compile>[0]) => {
    const executable = await compile(backend, rewritten);
    const slot = executable.kv.acquire()!;
    const rows = tokens.map((_, i) => i);
    const { logits } = await executable.forward({ tokens, slots: rows.map(() => slot), positions: rows, logits: rows });
    const copy = logits.slice();
    await executable.dispose();
    return copy;
  };
  const expected = await run(reference());
  const actual = await run(wasm({ precision: 'float32', threads: 2 }));
  const largest = Math.max(...expected.map(Math.abs));
  for (const [i, logit] of expected.entries()) expect(Math.abs(actual[i]! - logit) / largest).toBeLessThan(1e-4);
});
