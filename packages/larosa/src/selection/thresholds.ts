import type { Graph } from '@llmopt/core';
import type { Site } from '../budget/coefficients.ts';
import type { Activations } from '../calibration/activations.ts';
import { layerSites } from '../sites.ts';

/** Per layer and site the magnitudes that 1, 2, … `width` channels of a row reach on average, `[width]`. */
export type Borders = Map<string, Float32Array>;

const remembered = new WeakMap<object, Map<string, Borders>>();

/** What is known already of the activations of a calibration, by what they were turned with: sorting them takes seconds. */
export function bordersOf(calibration: object, turned: string): Borders {
  const known = remembered.get(calibration) ?? new Map<string, Borders>();
  remembered.set(calibration, known);
  const borders = known.get(turned) ?? new Map<string, Float32Array>();
  known.set(turned, borders);
  return borders;
}

/**
 * The magnitude from which on a channel stays alive, per site of every layer, such that on the calibration's rows as many do on average as
 * `keep` says (TEAL). Returns them by layer and site. What it finds out of the activations is added to `borders`.
 */
export async function thresholds(
  graph: Graph,
  activations: Activations,
  keep: (layer: number, site: Site, width: number) => number,
  borders: Borders = new Map(),
): Promise<(layer: number, site: Site) => { threshold: number; expected: number }> {
  const known = new Map<string, { threshold: number; expected: number }>();
  for (const { layer, site, width } of layerSites(graph)) {
    const key = `${layer} ${site}`;
    const ofSite = borders.get(key) ?? bordersIn(await activations(layer, site), width);
    borders.set(key, ofSite);
    const expected = keep(layer, site, width);
    known.set(key, { threshold: ofSite[expected - 1]!, expected });
  }
  return (layer, site) => known.get(`${layer} ${site}`)!;
}

function bordersIn(rows: Float32Array, width: number): Float32Array {
  const sizes = rows.map(Math.abs).sort();
  const samples = rows.length / width;
  return Float32Array.from({ length: width }, (_, i) => sizes[sizes.length - samples * (i + 1)]!);
}
