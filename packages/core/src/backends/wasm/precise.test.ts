import { expect, it } from 'vitest';
import { compile, randomGraph } from '../../../test/backends.ts';
import { checkGraph } from '../../graph/check.ts';
import { mapOps } from '../../graph/graph.ts';
import { wasm } from './index.ts';
import { groupLinears } from './packing/groups.ts';
import { groupSection } from './packing/sections.ts';

// Of the numbers of a linear, as a share of the largest: float32 sums of 48 products round to some 2^-24 of it, weights of 16 bits are off by
// half of 1/32767 of the largest of their row at most, those of 8 bits by half of 1/127.
const errors = {
  float32: [0, 1e-6],
  int16: [1e-6, 6e-5],
  int8: [1e-4, 1],
} as const;

it.each([
  { precision: 'int8', precise: false, key: errors.int8, query: errors.int8 },
  { precision: 'int8', precise: true, key: errors.int16, query: errors.int8 },
  { precision: 'float32', precise: false, key: errors.float32, query: errors.float32 },
  { precision: 'float32', precise: true, key: errors.float32, query: errors.float32 },
] as const)('with $precision, a linear that is precise: $precise', async ({ precision, precise, key, query }) => {
  const graph = mapOps(randomGraph({ layers: 1 }), (op) =>
    op.kind === 'linear' && op.outputs.output === '0.key' ? { ...op, precise } : op,
  );
  const executable = await compile(wasm({ threads: 2, precision }), graph);
  const rows = [0, 1, 2];
  const slot = executable.kv.acquire()!;
  const names = ['0.attentionNorm', '0.key', '0.query'];
  const { values } = await executable.forward({
    ...{ tokens: [5, 9, 70], slots: rows.map(() => slot), positions: rows, logits: [] },
    values: names.map((name) => ({ name, rows })),
  });
  await executable.dispose();
  const { width } = graph.config;
  /** Largest difference from a product in float64, as a share of the largest number. */
  const error = async (name: string, param: string) => {
    const weight = await graph.params.get(param)!.read();
    const outputs = weight.length / width;
    let [worst, largest] = [0, 0];
    for (const row of rows) {
      const x = values['0.attentionNorm']!.subarray(row * width, (row + 1) * width);
      for (let out = 0; out < outputs; out++) {
        const expected = x.reduce((sum, number, i) => sum + number * weight[out * width + i]!, 0);
        worst = Math.max(worst, Math.abs(values[name]![row * outputs + out]! - expected));
        largest = Math.max(largest, Math.abs(expected));
      }
    }
    return worst / largest;
  };
  const keyError = await error('0.key', 'blk.0.attn_k.weight');
  expect(keyError).toBeGreaterThanOrEqual(key[0]);
  expect(keyError).toBeLessThan(key[1]);
  const queryError = await error('0.query', 'blk.0.attn_q.weight');
  expect(queryError).toBeGreaterThanOrEqual(query[0]);
  expect(queryError).toBeLessThan(query[1]);
});

it('has other packed weights, under another key of the cache, with int8 alone', () => {
  const sections = (['int8', 'float32'] as const).flatMap((precision) =>
    [false, true].map((precise) => {
      const graph = mapOps(randomGraph({ layers: 1 }), (op) => (op.kind === 'linear' ? { ...op, precise } : op));
      const queryOp = graph.ops.find((op) => op.kind === 'linear')!;
      return groupSection(groupLinears(graph, checkGraph(graph)).get(queryOp)!, graph, precision);
    }),
  );
  expect(sections.map(({ key }) => key.split(' ')[0])).toEqual(['tiles', 'int16', 'float32', 'float32']);
  expect(sections[2]!.key).toBe(sections[3]!.key);
  // 48 inputs, 96 outputs: two bytes each, a scale and a bias per output.
  expect(sections[1]!.byteLength).toBe(96 * (48 * 2 + 4 + 4));
});
