import { expect, it } from 'vitest';
import { compile, randomGraph } from '../../test/backends.ts';
import { wasm } from '../backends/wasm/index.ts';
import { withChannels } from '../testing/channelsOp.ts';
import { type Graph, mapOps } from './graph.ts';
import { channelLists, weightBytesOfRows, weightBytesPerToken } from './weightBytes.ts';

const dense = randomGraph({ width: 48, ffn: 80, headDim: 12, heads: 4, kvHeads: 2, layers: 2, vocabulary: 101 });
const layer = 48 * (48 + 24 + 24) + 48 * 48 + 48 * 160 + 80 * 48;
const head = 101 * 48;

/** All lists of some rows, on a backend whose kernels make them. */
async function forwardLists(graph: Graph, tokens: readonly number[]) {
  const executable = await compile(wasm({ threads: 2 }), graph);
  const slot = executable.kv.acquire()!;
  const rows = tokens.map((_, i) => i);
  const names = channelLists(graph);
  const { values } = await executable.forward({
    ...{ tokens, slots: rows.map(() => slot), positions: rows, logits: [] },
    values: [...names, ...names.map((name) => name.replace('.channels', ''))].map((name) => ({ name, rows })),
  });
  await executable.dispose();
  return values;
}

it('counts all weights of a dense graph, the head too', () => {
  expect(weightBytesPerToken(dense)).toBe(2 * layer + head);
  expect(weightBytesPerToken(dense, { bytesPerWeight: 4 })).toBe(4 * (2 * layer + head));
  expect(channelLists(dense)).toEqual([]);
});

it('counts two bytes for each weight of a precise linear, or what all weights have', () => {
  const graph = mapOps(dense, (op) => (op.kind === 'linear' && op.layer === undefined ? { ...op, precise: true } : op));
  expect(weightBytesPerToken(graph)).toBe(2 * layer + 2 * head);
  expect(weightBytesPerToken(graph, { bytesPerWeight: 4 })).toBe(4 * (2 * layer + head));
});

it('counts the channels that kernels listed, row by row', async () => {
  const graph = withChannels(dense);
  expect(channelLists(graph)).toHaveLength(8);
  const values = await forwardLists(graph, [5, 9, 77]);
  const outputs: Record<string, number> = { attentionNorm: 96, attention: 48, ffnNorm: 160, gated: 48 };
  const expected = [0, 1, 2].map((row) =>
    channelLists(graph).reduce((sum, name) => {
      const input = values[name.replace('.channels', '')]!;
      const alive = input.subarray((row * input.length) / 3, ((row + 1) * input.length) / 3).filter((x) => x > 0);
      return sum + alive.length * outputs[name.split('.')[1]!]!;
    }, head),
  );
  expect([...weightBytesOfRows(graph, values, 3)]).toEqual(expected);
  // Half a byte for each of the others.
  const all = 2 * layer + head;
  expect([...weightBytesOfRows(graph, values, 3, { bytesPerOther: () => 0.5 })]).toEqual(
    expected.map((bytes) => bytes + (all - bytes) / 2),
  );
});

it('refuses values without a list', () => {
  expect(() => weightBytesOfRows(withChannels(dense), {}, 1)).toThrow(
    expect.objectContaining({ code: 'LLMOPT_BATCH_INVALID' }),
  );
});
