import type { Graph } from '@llmopt/core';
import { mostDropped, siteSizes, skippedBy, skipUpTo, weightsOf } from './bytes.ts';
import { costShares } from './costs.ts';

/** Shares are looked for in steps of this. */
const STEP = 0.005;

/**
 * How many channels each site keeps, in the order of `layerSites`, so that what is dropped costs least in all while a token skips this share of the layers' weights: the last
 * bytes that each site drops cost the same everywhere. The bytes are exact to one channel.
 * @param costs of the sites in the order of `layerSites`, `[sites, costShares]`
 */
export function layerBudget(graph: Graph, costs: Float32Array, sparsity: number): number[] {
  const sizes = siteSizes(graph);
  const curves = sizes.map((_, i) => costCurve(costs.subarray(i * costShares.length, (i + 1) * costShares.length)));
  const keptAt = (price: number) =>
    sizes.map(({ width, outputs }, i) =>
      Math.max(1, Math.ceil(width * (1 - cheapest(curves[i]!, price * width * outputs)))),
    );
  const target = weightsOf(sizes, sparsity);
  // Cost per byte, between which the target lies, by halves of its logarithm.
  let [low, high] = [-60, 30];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (skippedBy(sizes, keptAt(Math.exp(middle))) < target) low = middle;
    else high = middle;
  }
  const kept = keptAt(Math.exp(low));
  skipUpTo(sizes, kept, target);
  return kept;
}
/** The cost of each share 0, STEP, … : a power between two shares that were measured, and beyond the last. */
function costCurve(costs: Float32Array): Float64Array {
  const points = costShares.map((share, i) => ({ x: Math.log(share), y: Math.log(Math.max(costs[i]!, 1e-30)) }));
  return Float64Array.from({ length: Math.round(mostDropped / STEP) + 1 }, (_, i) => {
    if (i === 0) return 0;
    const x = Math.log(i * STEP);
    const at = x <= points[1]!.x ? 0 : 1;
    const [a, b] = [points[at]!, points[at + 1]!];
    return Math.exp(a.y + ((b.y - a.y) / (b.x - a.x)) * (x - a.x));
  });
}

/** The share at which cost − share · worth is least. */
function cheapest(curve: Float64Array, worth: number): number {
  let best = 0;
  for (let i = 1; i < curve.length; i++) {
    if (curve[i]! - i * STEP * worth < curve[best]! - best * STEP * worth) best = i;
  }
  return best * STEP;
}
