import { definePlugin, LlmoptError, type Plugin } from '@llmopt/core';
import { layerBudget } from './budget/layers.ts';
import { checkBudget, defaultCoefficients, keptChannels, type Site } from './budget.ts';
import { activationsIn } from './calibration/activations.ts';
import { openCalibration } from './calibration/artefact.ts';
import type { Calibration } from './calibration/calibration.ts';
import { compensate } from './compensation/compensate.ts';
import { checkKnown } from './knownOptions.ts';
import { applyRotation, needsCalibration } from './rotation/apply.ts';
import { forgetBases } from './rotation/basis.ts';
import { checkRotation, type Rotation } from './rotation/plan.ts';
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
  /**
   * `coefficients` (default): the same in every layer; `layers`: shares per layer and site, such that what is dropped changes the residual stream
   * least. Needs `calibration`.
   */
  budget?: 'coefficients' | 'layers';
  /**
   * In which basis the residual stream is made sparse: `none` (default) as it is; `layer` in one per layer, at the price of a matrix between
   * two layers; so many layers share one; `shared`: all do. Needs `calibration`.
   */
  rotation?: Rotation;
  /** The values of each KV head in a basis of their own, which costs nothing. Default false. Needs `calibration`. */
  values?: boolean;
  /** Put what is dropped back on average, as a bias of each projection. Default false. Needs `calibration`. */
  compensation?: boolean;
  /** What `calibrate` wrote for this model: its path, or opened. */
  calibration?: string | Calibration;
}

/**
 * Sparse activations: of the input of every projection, each token keeps the largest numbers (exact Top-K by magnitude), and the
 * weights of the other channels are neither read nor multiplied.
 * @throws LLMOPT_OPTION_INVALID
 */
export function larosa(options: LarosaOptions): Plugin {
  checkKnown(options);
  const coefficients = { ...defaultCoefficients, ...options.coefficients };
  const { sparsity, score = 'magnitude', prefill = 'dense' } = options;
  checkWord('score', score, ['magnitude', 'weighted']);
  checkWord('prefill', prefill, ['dense', 'sparse']);
  const { budget = 'coefficients', rotation = 'none', values = false, compensation = false, calibration } = options;
  checkBudget(sparsity, coefficients);
  checkRotation(rotation);
  checkWord('budget', budget, ['coefficients', 'layers']);
  const needs = { rotation: rotation !== 'none', values, compensation, 'budget: layers': budget === 'layers' };
  for (const [option, used] of Object.entries(needs)) if (used && !calibration) throw needsCalibration(option);
  if (compensation && prefill === 'dense') {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      'larosa: compensation makes up for channels that prompts do not drop.',
      {
        hint: "Give prefill: 'sparse' with it.",
      },
    );
  }
  let skippedWeightShare = 0;
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    options: {
      ...{ sparsity, coefficients, score, prefill, budget, rotation, values, compensation },
      calibration: typeof calibration === 'string' ? calibration : calibration?.checksum,
    },
    fidelity: sparsity === 0 ? 'exact' : 'approximate',
    // A plugin that adds rows to the embedding goes first, so that nothing it adds is missed.
    after: ['adaptivocab'],
    ...(rotation !== 'none' && { claims: ['residualBasis'] }),
    requires: ['channels'],
    async graph(graph) {
      const calibrated = typeof calibration === 'string' ? await openCalibration(calibration, graph) : calibration;
      const { graph: rotated, bases } = applyRotation(graph, { rotation, values }, calibrated);
      const perLayer = budget === 'layers' ? layerBudget(graph, await calibrated!.costs(), sparsity) : undefined;
      const { rewritten, skipped, total } = sparsifyGraph(
        rotated,
        (site, width, { layer }) =>
          perLayer ? perLayer(layer, site) : keptChannels(width, sparsity, coefficients[site]),
        { score, prefill },
      );
      skippedWeightShare = skipped / total;
      if (!compensation) return rewritten;
      const activations = activationsIn(calibrated!, graph, bases);
      return compensate(rewritten, activations, JSON.stringify([calibrated!.checksum, rotation, values]));
    },
    // The weights are packed.
    ready: forgetBases,
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
