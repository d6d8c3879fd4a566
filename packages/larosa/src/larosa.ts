import { definePlugin, LlmoptError, type Plugin } from '@llmopt/core';
import { checkBudget, defaultCoefficients, keptChannels, type Site } from './budget.ts';
import { checkKnown } from './knownOptions.ts';
import type { Prefill, Score } from './selection/sparsify.ts';
import { sparsifyGraph } from './selection/sparsifyGraph.ts';

export interface LarosaOptions {
  /** Share of the layers' weights that each token skips, from 0 (nothing changes) to below 1. */
  sparsity: number;
  /** How the sparsity is spread over the inputs of a layer. Default .8, 4/3, .8, 1.4. */
  coefficients?: Partial<Record<Site, number>>;
  /**
   * What makes a channel large: `magnitude` (default), or `weighted`: magnitude times the norm of the weights' column, over all projections that
   * share the input.
   */
  score?: Score;
  /** `dense` (default): the prompt is computed with all weights, as without larosa; `sparse`: like all other tokens. */
  prefill?: Prefill;
}

/**
 * Sparse activations: of the input of every projection, each token keeps the largest numbers (exact Top-K by magnitude), and the
 * weights of the other channels are neither read nor multiplied. Rotation is not part of this version.
 * @throws LLMOPT_OPTION_INVALID
 */
export function larosa(options: LarosaOptions): Plugin {
  checkKnown(options);
  const coefficients = { ...defaultCoefficients, ...options.coefficients };
  const { sparsity, score = 'magnitude', prefill = 'dense' } = options;
  checkBudget(sparsity, coefficients);
  checkWord('score', score, ['magnitude', 'weighted']);
  checkWord('prefill', prefill, ['dense', 'sparse']);
  let skippedWeightShare = 0;
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    options: { sparsity, coefficients, score, prefill },
    fidelity: sparsity === 0 ? 'exact' : 'approximate',
    // A plugin that adds rows to the embedding goes first, so that nothing it adds is missed.
    after: ['adaptivocab'],
    requires: ['channels'],
    graph(graph) {
      const keep = (site: Site, width: number) => keptChannels(width, sparsity, coefficients[site]);
      const { rewritten, skipped, total } = sparsifyGraph(graph, keep, { score, prefill });
      skippedWeightShare = skipped / total;
      return rewritten;
    },
    metrics: () => ({ 'larosa.skippedWeightShare': skippedWeightShare }),
  });
}

function checkWord(option: string, word: string, allowed: readonly string[]): void {
  if (allowed.includes(word)) return;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    `larosa: ${option} is "${word}"; ${allowed.join(' and ')} are allowed.`,
  );
}
