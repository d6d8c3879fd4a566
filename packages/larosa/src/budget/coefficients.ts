import { LlmoptError } from '@llmopt/core';

/** The four inputs of a layer that are made sparse: of q|k|v, of o, of gate|up, of down. */
export const sites = ['attentionInput', 'attentionOutput', 'ffnInput', 'ffnMiddle'] as const;

export type Site = (typeof sites)[number];

/**
 * How much of the sparsity each site gets (paper section 4.3). The sum over all weights stays at the sparsity asked for when, in
 * bytes, the coefficients average to 1; these do for SmolLM2-135M.
 */
export const defaultCoefficients: Readonly<Record<Site, number>> = {
  attentionInput: 0.8,
  attentionOutput: 4 / 3,
  ffnInput: 0.8,
  ffnMiddle: 1.4,
};

/** K = max(1, floor((1 − coefficient · sparsity) · width)): the coefficient scales the sparsity, not what is kept. */
export function keptChannels(width: number, sparsity: number, coefficient: number): number {
  // A width times a decimal fraction such as 1 − 0.8·0.5 must not fall below the whole number that is meant.
  return Math.max(1, Math.min(width, Math.floor((1 - coefficient * sparsity) * width + 1e-9)));
}

/** @throws LLMOPT_OPTION_INVALID */
export function checkBudget(sparsity: number, coefficients: Readonly<Record<Site, number>>): void {
  if (!(sparsity >= 0 && sparsity < 1)) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `larosa: sparsity is ${sparsity}; a number from 0 up to, but not including, 1 is allowed.`,
      {
        hint: '0.4 skips 40 % of the weights of the layers.',
      },
    );
  }
  for (const site of sites) {
    if (!(coefficients[site] >= 0 && coefficients[site] <= 10)) {
      throw new LlmoptError(
        'LLMOPT_OPTION_INVALID',
        `larosa: the coefficient of ${site} is ${coefficients[site]}; a number from 0 to 10 is allowed.`,
      );
    }
  }
}
