import { expect, it } from 'vitest';
import { randomGraph } from '../../../core/test/backends.ts';
import { product } from '../linearAlgebra/product.ts';
import { topK } from '../selection/choose.ts';
import { sparsifyGraph } from '../selection/sparsifyGraph.ts';
import { layerSites } from '../sites.ts';
import { compensate, shrunkenMean } from './compensate.ts';

const samples = 50;

/** Rows that are far from zero on average, so that what is dropped is too. */
const activationsOf = (widths: ReadonlyMap<string, number>) => async (layer: number, site: string) => {
  const width = widths.get(`${layer} ${site}`)!;
  return Float32Array.from({ length: samples * width }, (_, i) => 1 + (i % width) / width + 0.3 * Math.sin(i * i));
};

it('makes up for what is dropped, on average, in every projection', async () => {
  const { rewritten } = sparsifyGraph(randomGraph({ architecture: 'qwen2', layers: 1 }), (_site, width) => width >> 1);
  const sites = layerSites(rewritten);
  const activations = activationsOf(new Map(sites.map(({ layer, site, width }) => [`${layer} ${site}`, width])));
  const graph = compensate(rewritten, activations, 'made up');
  const compensated = layerSites(graph);
  expect(compensated.flatMap(({ linears }) => linears).length).toBe(7);
  for (const { layer, site, width, linears } of compensated) {
    const rows = await activations(layer, site);
    const mean = new Float64Array(width);
    const kept = new Float64Array(width);
    for (let row = 0; row < samples; row++) {
      const x = rows.subarray(row * width, (row + 1) * width);
      for (let i = 0; i < width; i++) mean[i]! += x[i]! / samples;
      for (const channel of topK(x, width >> 1)) kept[channel]! += x[channel]! / samples;
    }
    for (const op of linears) {
      const weight = await graph.params.get(op.params.weight)!.read();
      const bias = await graph.params.get(op.params.bias!)!.read();
      const old = sites.flatMap((one) => one.linears).find((one) => one.outputs.output === op.outputs.output)!
        .params.bias;
      const own = old === undefined ? undefined : await rewritten.params.get(old)!.read();
      const [dense, sparse] = [product(weight, mean, width), product(weight, kept, width)];
      const before = Math.max(...dense.map((x, i) => Math.abs(x - sparse[i]!)));
      const after = Math.max(...dense.map((x, i) => Math.abs(x + (own?.[i] ?? 0) - sparse[i]! - bias[i]!)));
      expect(after).toBeLessThan(before * 0.1);
    }
  }
});

it('leaves out a mean that is chance, and keeps one that is not', () => {
  const noise = Float64Array.from({ length: 100 }, (_, i) => (i % 2 ? 1 : -1) + (i === 0 ? 0.5 : 0));
  expect([...shrunkenMean(noise, 1)]).toEqual([0]);
  expect(
    shrunkenMean(
      noise.map((x) => x + 100),
      1,
    )[0],
  ).toBeCloseTo(100, 1);
});
