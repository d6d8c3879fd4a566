import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomGraph } from '../../../core/test/backends.ts';
import { product, transposed } from '../linearAlgebra/product.ts';
import { topK } from '../selection/choose.ts';
import { layerSites } from '../sites.ts';
import { siteSizes } from './bytes.ts';
import type { Site } from './coefficients.ts';
import { costShares, siteCosts } from './costs.ts';
import { layerBudget } from './layers.ts';

describe('layerBudget', () => {
  const graph = randomGraph({ layers: 3 });
  const sites = siteSizes(graph);
  const curves = (scale: (i: number) => number) =>
    Float32Array.from({ length: sites.length * 3 }, (_, at) => scale(Math.floor(at / 3)) * costShares[at % 3]! ** 2.5);

  it('skips the bytes that were asked for, to one channel, whatever the costs', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.7, noNaN: true }), fc.nat(1000), (sparsity, seed) => {
        const kept = layerBudget(
          graph,
          curves((i) => Math.exp(3 * Math.sin(seed + i * i))),
          sparsity,
        );
        let skipped = 0;
        let total = 0;
        for (const [i, { width, outputs }] of sites.entries()) {
          expect(kept[i]).toBeGreaterThanOrEqual(1);
          expect(kept[i]).toBeLessThanOrEqual(width);
          skipped += (width - kept[i]!) * outputs;
          total += width * outputs;
        }
        expect(skipped).toBeLessThanOrEqual(sparsity * total + 1e-6);
        expect(sparsity * total - skipped).toBeLessThan(Math.min(...sites.map(({ outputs }) => outputs)));
      }),
    );
  });

  it('takes from where it costs less', () => {
    const at = (layer: number, site: Site) => sites.findIndex((one) => one.layer === layer && one.site === site);
    const costly = at(1, 'ffnInput');
    const kept = layerBudget(
      graph,
      curves((i) => (i === costly ? 20 : 1)),
      0.4,
    );
    expect(kept[costly]).toBeGreaterThan(kept[at(0, 'ffnInput')]! * 1.2);
    expect(kept[at(0, 'ffnInput')]).toBe(kept[at(2, 'ffnInput')]);
  });
});

it('costs what is changed of the residual stream, as a share of it', async () => {
  const graph = randomGraph({ layers: 2 });
  const site = layerSites(graph).find(({ layer, site: name }) => layer === 1 && name === 'attentionOutput')!;
  const { width } = site;
  const rows = Float32Array.from({ length: 3 * width }, (_, i) => Math.sin(i * i));
  const weight = await graph.params.get(site.linears[0]!.params.weight)!.read();
  const residualRms = Float32Array.of(1, 2, 4);
  const costs = await siteCosts(graph, { site, rows, residualRms });
  for (const [at, dropShare] of costShares.entries()) {
    let expected = 0;
    for (let row = 0; row < 3; row++) {
      const dropped = rows.slice(row * width, (row + 1) * width);
      for (const channel of topK(dropped, Math.round(width * (1 - dropShare)))) dropped[channel] = 0;
      const change = product(dropped, transposed(weight, width), width);
      const share = change.reduce((sum, x) => sum + x * x, 0) / graph.config.width / residualRms[row]! ** 2;
      expected += share / (1 + share) / 3;
    }
    expect(costs[at]! / expected).toBeCloseTo(1, 4);
  }
  const [few, some, most] = costs as [number, number, number];
  expect(few).toBeLessThan(some);
  expect(some).toBeLessThan(most);
});

it.each(['llama', 'phi2'] as const)('follows every site of %s to the residual stream', async (architecture) => {
  const graph = randomGraph({ architecture, layers: 1 });
  for (const site of layerSites(graph)) {
    const rows = Float32Array.from({ length: 2 * site.width }, (_, i) => Math.cos(i * i));
    const [few, , most] = (await siteCosts(graph, { site, rows, residualRms: Float32Array.of(1, 1) })) as [
      number,
      number,
      number,
    ];
    expect(few, site.site).toBeGreaterThan(0);
    expect(most, site.site).toBeGreaterThan(few);
  }
});
