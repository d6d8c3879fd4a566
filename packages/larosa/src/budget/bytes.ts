import type { Graph } from '@llmopt/core';
import { layerSites } from '../sites.ts';
import type { Site } from './coefficients.ts';

/** A site, and how many weights one of its channels has. */
export interface SiteSize {
  readonly layer: number;
  readonly site: Site;
  readonly width: number;
  readonly outputs: number;
}

/** In the order of `layerSites`. */
export function siteSizes(graph: Graph): SiteSize[] {
  return layerSites(graph).map(({ layer, site, width, linears }) => ({
    ...{ layer, site, width },
    outputs: linears.reduce((sum, op) => sum + graph.params.get(op.params.weight)!.shape[0]!, 0),
  }));
}

/** Weights of all sites that this share is of. */
export const weightsOf = (sizes: readonly SiteSize[], share = 1) =>
  share * sizes.reduce((sum, { width, outputs }) => sum + width * outputs, 0);

export const skippedBy = (sizes: readonly SiteSize[], kept: ArrayLike<number>) =>
  sizes.reduce((sum, { width, outputs }, i) => sum + (width - kept[i]!) * outputs, 0);

/** Takes channels away in turn, one of each site, until no other fits in what may be skipped: exact to one channel. Changes `kept`. */
export function skipUpTo(sizes: readonly SiteSize[], kept: number[], weights: number): void {
  let missing = weights - skippedBy(sizes, kept);
  for (let i = 0, idle = 0; idle < sizes.length; i = (i + 1) % sizes.length) {
    const { outputs } = sizes[i]!;
    if (kept[i]! > 1 && missing >= outputs) {
      kept[i]!--;
      missing -= outputs;
      idle = 0;
    } else idle++;
  }
}

/** No site drops more on its own account: one that reads next to nothing breaks down. */
export const mostDropped = 0.9;

/**
 * How many channels each site keeps when it drops in proportion to `dropped`, and a token skips this share of the weights: exact to one channel.
 */
export function keptInProportion(sizes: readonly SiteSize[], dropped: ArrayLike<number>, sparsity: number): number[] {
  const keptAt = (factor: number) =>
    sizes.map(({ width }, i) =>
      Math.max(1, Math.ceil(width * (1 - Math.min(mostDropped, dropped[i]! * factor)) - 1e-4)),
    );
  const target = weightsOf(sizes, sparsity);
  // The factor, by halves of its logarithm.
  let [low, high] = [-20, 20];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (skippedBy(sizes, keptAt(Math.exp(middle))) <= target) low = middle;
    else high = middle;
  }
  const kept = keptAt(Math.exp(low));
  skipUpTo(sizes, kept, target);
  return kept;
}
