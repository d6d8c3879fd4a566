import { expect, it } from 'vitest';
import { compile, randomGraph } from '../../../test/backends.ts';
import { mapOps } from '../../graph/graph.ts';
import { wasm } from './index.ts';

it.each([false, true])('keeps the weights of a precise linear, and only those, in float32: %s', async (precise) => {
  const graph = mapOps(randomGraph({ layers: 1 }), (op) =>
    op.kind === 'linear' && op.outputs.output === '0.key' ? { ...op, precise } : op,
  );
  const executable = await compile(wasm({ threads: 2 }), graph);
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
  if (precise) expect(await error('0.key', 'blk.0.attn_k.weight')).toBeLessThan(1e-6);
  else expect(await error('0.key', 'blk.0.attn_k.weight')).toBeGreaterThan(1e-4);
  expect(await error('0.query', 'blk.0.attn_q.weight')).toBeGreaterThan(1e-4);
});
