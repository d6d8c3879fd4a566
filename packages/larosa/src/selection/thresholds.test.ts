import { seededRandom } from '@llmopt/core';
import { expect, it } from 'vitest';
import { randomGraph } from '../../../core/test/backends.ts';
import { layerSites } from '../sites.ts';
import { thresholds } from './thresholds.ts';

it('lets as many channels live on average as are wanted, whatever the site', async () => {
  const graph = randomGraph({ layers: 2 });
  const random = seededRandom(1);
  const rows = new Map(
    layerSites(graph).map(({ layer, site, width }) => [
      `${layer} ${site}`,
      Float32Array.from({ length: 50 * width }, () => (random() - 0.5) * (layer + 1)),
    ]),
  );
  const kept = (width: number) => Math.floor(width * 0.3);
  const of = await thresholds(
    graph,
    async (layer, site) => rows.get(`${layer} ${site}`)!,
    (_layer, _site, width) => kept(width),
  );
  for (const { layer, site, width } of layerSites(graph)) {
    const { threshold, expected } = of(layer, site);
    const alive = rows.get(`${layer} ${site}`)!.filter((x) => Math.abs(x) >= threshold).length;
    expect(expected).toBe(kept(width));
    expect(alive / 50).toBeCloseTo(expected, 5);
  }
});
