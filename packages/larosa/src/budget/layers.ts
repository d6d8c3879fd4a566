import type { Graph } from '@llmopt/core';
import type { Site } from '../budget.ts';
import { layerSites } from '../sites.ts';
import { costShares } from './costs.ts';

/** Shares are looked for in steps of this, and none above the largest: a site that reads next to nothing breaks down. */
const STEP = 0.005;
const MOST = 0.9;

/**
 * How many channels each site keeps, so that what is dropped costs least in all while a token skips this share of the layers' weights: the last
 * bytes that each site drops cost the same everywhere. The bytes are exact to one channel.
 * @param costs of the sites in the order of `layerSites`, `[sites, costShares]`
 */
export function layerBudget(graph: Graph, costs: Float32Array, sparsity: number) {
  const sites = layerSites(graph).map(({ layer, site, width, linears }, i) => {
    const outputs = linears.reduce((sum, op) => sum + graph.params.get(op.params.weight)!.shape[0]!, 0);
    const curve = costCurve(costs.subarray(i * costShares.length, (i + 1) * costShares.length));
    return { layer, site, width, outputs, curve, kept: width };
  });
  const total = sites.reduce((sum, { width, outputs }) => sum + width * outputs, 0);
  const target = sparsity * total;
  const skipped = () => sites.reduce((sum, { width, outputs, kept }) => sum + (width - kept) * outputs, 0);
  const choose = (price: number) => {
    for (const one of sites)
      one.kept = Math.max(1, Math.ceil(one.width * (1 - cheapest(one.curve, price * one.width * one.outputs))));
  };
  // Cost per byte, between which the target lies, by halves of its logarithm.
  let [low, high] = [-60, 30];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    choose(Math.exp(middle));
    if (skipped() < target) low = middle;
    else high = middle;
  }
  choose(Math.exp(low));
  // What is missing to the target, a channel at a time, in turn.
  let missing = target - skipped();
  for (let i = 0, idle = 0; idle < sites.length; i = (i + 1) % sites.length) {
    const one = sites[i]!;
    if (one.kept > 1 && missing >= one.outputs) {
      one.kept--;
      missing -= one.outputs;
      idle = 0;
    } else idle++;
  }
  const kept = new Map(sites.map((one) => [`${one.layer} ${one.site}`, one.kept]));
  return (layer: number, site: Site) => kept.get(`${layer} ${site}`)!;
}

/** The cost of each share 0, STEP, … : a power between two shares that were measured, and beyond the last. */
function costCurve(costs: Float32Array): Float64Array {
  const points = costShares.map((share, i) => ({ x: Math.log(share), y: Math.log(Math.max(costs[i]!, 1e-30)) }));
  return Float64Array.from({ length: Math.round(MOST / STEP) + 1 }, (_, i) => {
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
