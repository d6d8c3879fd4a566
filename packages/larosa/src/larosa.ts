import { definePlugin, type Graph, LlmoptError, type Plugin } from '@llmopt/core';
import { siteSizes } from './budget/bytes.ts';
import { checkBudget, defaultCoefficients, keptChannels, type Site } from './budget/coefficients.ts';
import { layerBudget } from './budget/layers.ts';
import { activationsIn } from './calibration/activations.ts';
import { openCalibration } from './calibration/artefact.ts';
import type { Calibration } from './calibration/calibration.ts';
import { compensate } from './compensation/compensate.ts';
import { checkKnown } from './knownOptions.ts';
import { applyRotation, needsCalibration } from './rotation/apply.ts';
import { forgetBases } from './rotation/basis.ts';
import { checkRotation, type Rotation } from './rotation/plan.ts';
import { searchedBudget } from './search/searched.ts';
import type { Prefill, Score } from './selection/sparsify.ts';
import { sparsifyGraph } from './selection/sparsifyGraph.ts';
import { bordersOf, thresholds } from './selection/thresholds.ts';

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
  /**
   * `topK` (default): exactly so many channels per token; `threshold`: those above a magnitude that is fixed per input by the calibration, so
   * that only their mean is as asked for (TEAL). Needs `calibration`.
   */
  selection?: 'topK' | 'threshold';
  /** `dense` (default): the prompt is computed with all weights, as without larosa; `sparse`: like all other tokens. */
  prefill?: Prefill;
  /**
   * `coefficients`: the same in every layer; `uniform`: the same for every input; `layers`: shares per layer and site, such that what is
   * dropped changes the residual stream least; `searched`: those that the calibration's search found. The last two need `calibration`. Default
   * `searched` where the calibration has a search and no `coefficients` are given, else `coefficients`.
   */
  budget?: 'coefficients' | 'uniform' | 'layers' | 'searched';
  /**
   * In which basis the residual stream is made sparse: `none` (default) as it is; `layer` in one per layer, at the price of a matrix between
   * two layers; so many layers share one; `shared`: all do. Needs `calibration`.
   */
  rotation?: Rotation;
  /** The values of each KV head in a basis of their own, which costs nothing. Needs `calibration`, and is the default with one. */
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
  const { rotation = 'none', selection = 'topK', compensation = false, calibration } = options;
  const { values = calibration !== undefined } = options;
  const askedBudget = options.budget ?? (calibration && !options.coefficients ? undefined : 'coefficients');
  checkBudget(sparsity, coefficients);
  checkRotation(rotation);
  if (askedBudget !== undefined) checkWord('budget', askedBudget, ['coefficients', 'uniform', 'layers', 'searched']);
  checkWord('selection', selection, ['topK', 'threshold']);
  const needs = {
    ...{ rotation: rotation !== 'none', values, compensation },
    ...{ 'budget: layers': askedBudget === 'layers', 'budget: searched': askedBudget === 'searched' },
    'selection: threshold': selection === 'threshold',
  };
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
  if (selection === 'threshold' && score === 'weighted') {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', 'larosa: a threshold goes by magnitude, not by weighted scores.', {
      hint: "Give score: 'magnitude' with it.",
    });
  }
  let skippedWeightShare = 0;
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    options: {
      ...{ sparsity, coefficients, score, selection, prefill, budget: askedBudget, rotation, values, compensation },
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
      const budget = askedBudget ?? (calibrated?.settings.search ? 'searched' : 'coefficients');
      const kept =
        budget === 'layers' || budget === 'searched' ? await keptBy(calibrated!, budget, graph, sparsity) : undefined;
      const perLayer = kept && new Map(siteSizes(graph).map((one, i) => [`${one.layer} ${one.site}`, kept[i]!]));
      const keep = (layer: number, site: Site, width: number) =>
        perLayer?.get(`${layer} ${site}`) ??
        keptChannels(width, sparsity, budget === 'uniform' ? 1 : coefficients[site]);
      const activations = calibrated && activationsIn(calibrated, graph, bases);
      const turned = JSON.stringify([rotation, values]);
      const reached =
        selection === 'threshold'
          ? await thresholds(graph, activations!, keep, bordersOf(calibrated!, turned))
          : undefined;
      const { rewritten, skipped, total } = sparsifyGraph(
        rotated,
        (site, width, { layer }) => reached?.(layer, site) ?? keep(layer, site, width),
        { score, prefill },
      );
      skippedWeightShare = skipped / total;
      if (!compensation) return rewritten;
      return compensate(rewritten, activations!, JSON.stringify([calibrated!.checksum, rotation, values]));
    },
    // The weights are packed.
    ready: forgetBases,
    metrics: () => ({ 'larosa.skippedWeightShare': skippedWeightShare }),
  });
}

/** @throws LLMOPT_OPTION_INVALID */
async function keptBy(
  calibration: Calibration,
  budget: 'layers' | 'searched',
  graph: Graph,
  sparsity: number,
): Promise<number[]> {
  if (budget === 'layers') return layerBudget(graph, await calibration.costs(), sparsity);
  const searched = await calibration.searched();
  if (searched) return searchedBudget(graph, searched, sparsity);
  throw new LlmoptError('LLMOPT_OPTION_INVALID', 'larosa: budget is searched, but the calibration has no search.', {
    hint: 'Calibrate again without --no-search, or leave budget out.',
  });
}

function checkWord(option: string, word: string, allowed: readonly string[]): void {
  if (allowed.includes(word)) return;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    `larosa: ${option} is "${word}"; ${allowed.join(' and ')} are allowed.`,
  );
}
