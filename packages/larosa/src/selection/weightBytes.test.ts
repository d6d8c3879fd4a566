import { channelLists, type Graph, wasm, weightBytesOfRows, weightBytesPerToken } from '@llmopt/core';
import { expect, it } from 'vitest';
import { compile, randomGraph } from '../../../core/test/backends.ts';
import { larosa } from '../larosa.ts';
import { sparsifyGraph } from './sparsifyGraph.ts';

const tokens = Array.from({ length: 12 }, (_, i) => (i * 29 + 3) % 101);
const promptLength = 5;
// The last projections have records that are skipped in memory.
const dense = randomGraph({ ffn: 1100 });

/** What each token reads, by the lists that the kernels made: a prompt, three rows at once, then one row after the other. */
async function bytesOfTokens(graph: Graph): Promise<number[]> {
  const executable = await compile(wasm({ threads: 2 }), graph);
  const slot = executable.kv.acquire()!;
  const bytes: number[] = [];
  for (const count of [5, 3, 1, 1, 1, 1]) {
    const from = executable.kv.length(slot);
    const rows = Array.from({ length: count }, (_, i) => i);
    const { values } = await executable.forward({
      tokens: rows.map((row) => tokens[from + row]!),
      slots: rows.map(() => slot),
      positions: rows.map((row) => from + row),
      prompt: rows.map((row) => (from + row < promptLength ? 1 : 0)),
      logits: [],
      values: channelLists(graph).map((name) => ({ name, rows })),
    });
    bytes.push(...weightBytesOfRows(graph, values, count));
  }
  await executable.dispose();
  return bytes;
}

it.each(['magnitude', 'weighted'] as const)('every token reads exactly its share (%s)', async (score) => {
  const plugin = larosa({ sparsity: 0.6, score });
  const graph = await plugin.graph!(dense);
  const all = weightBytesPerToken(dense);
  const share = weightBytesPerToken(graph);
  const head = 101 * 48;
  expect(1 - (share - head) / (all - head)).toBeCloseTo(plugin.metrics!()['larosa.skippedWeightShare'] as number, 12);
  expect(await bytesOfTokens(graph)).toEqual(tokens.map((_, i) => (i < promptLength ? all : share)));
});

it('what a threshold leaves differs from token to token, and only lists know', async () => {
  const { rewritten } = sparsifyGraph(dense, () => ({ threshold: 0.5 }), { prefill: 'sparse' });
  expect(weightBytesPerToken(rewritten)).toBe(weightBytesPerToken(dense));
  const bytes = await bytesOfTokens(rewritten);
  expect(new Set(bytes).size).toBeGreaterThan(6);
  expect(Math.max(...bytes)).toBeLessThan(weightBytesPerToken(dense));
});
