import type { RowScore } from './compareRows.ts';

/** Position by position, how far a model is from the one that wrote the logits down. */
export interface Divergences {
  /** KL divergence, in nats. */
  divergences: number[];
  /** 1 where both put the same token first, else 0. */
  agreements: number[];
  /** Negative log-likelihoods of the text's tokens, in nats: the model's, and those of the one that wrote. */
  losses: number[];
  expectedLosses: number[];
}

export const noDivergences = (): Divergences => ({ divergences: [], agreements: [], losses: [], expectedLosses: [] });

/** Adds what comparing the other's row with one's own told, in this order. */
export function addScore(to: Divergences, { divergence, sameTop, lossA, lossB }: RowScore): void {
  to.divergences.push(divergence);
  to.agreements.push(sameTop ? 1 : 0);
  to.losses.push(lossB);
  to.expectedLosses.push(lossA);
}
