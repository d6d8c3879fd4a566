import type { Graph } from '@llmopt/core';
import { keptInProportion, siteSizes } from '../budget/bytes.ts';

/** Budgets that a search found. */
export interface SearchedBudgets {
  /** Ascending. */
  readonly sparsities: readonly number[];
  /** Channels that are kept, `[sparsities, sites]`, in the order of `layerSites`. */
  readonly kept: Float32Array;
  /**
   * Mean divergence from the dense model in nats per token, on text that nothing else was made of, `[sparsities, 2]`: of the fixed coefficients and
   * of what was found. NaN where the time did not suffice.
   */
  readonly divergences: Float32Array;
}

/**
 * How many channels each site keeps, exact in bytes to one channel: in the proportions that were found at this sparsity, or between those of the
 * next lower and the next higher one.
 */
export function searchedBudget(graph: Graph, { sparsities, kept }: SearchedBudgets, sparsity: number): number[] {
  const sizes = siteSizes(graph);
  const above = sparsities.findIndex((one) => one >= sparsity);
  const high = above === -1 ? sparsities.length - 1 : above;
  const low = above <= 0 ? high : above - 1;
  const part = low === high ? 0 : (sparsity - sparsities[low]!) / (sparsities[high]! - sparsities[low]!);
  const proportion = (at: number, i: number) => (1 - kept[at * sizes.length + i]! / sizes[i]!.width) / sparsities[at]!;
  const dropped = sizes.map((_, i) => (1 - part) * proportion(low, i) + part * proportion(high, i));
  return keptInProportion(sizes, dropped, sparsity);
}
