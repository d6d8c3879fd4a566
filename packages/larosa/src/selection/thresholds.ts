import type { Graph } from '@llmopt/core';
import type { Site } from '../budget.ts';
import type { Activations } from '../calibration/activations.ts';
import { layerSites } from '../sites.ts';

/**
 * The magnitude from which on a channel stays alive, per site of every layer, such that on the calibration's rows as many do on average as
 * `keep` says (TEAL). Returns them by layer and site.
 */
export async function thresholds(
  graph: Graph,
  activations: Activations,
  keep: (layer: number, site: Site, width: number) => number,
): Promise<(layer: number, site: Site) => { threshold: number; expected: number }> {
  const known = new Map<string, { threshold: number; expected: number }>();
  for (const { layer, site, width } of layerSites(graph)) {
    const sizes = (await activations(layer, site)).map(Math.abs).sort();
    const expected = keep(layer, site, width);
    const alive = Math.round((sizes.length * expected) / width);
    known.set(`${layer} ${site}`, { threshold: sizes[Math.max(0, sizes.length - alive)]!, expected });
  }
  return (layer, site) => known.get(`${layer} ${site}`)!;
}
