import {
  type CustomOp,
  definePlugin,
  type Graph,
  type LinearOp,
  LlmoptError,
  mapOps,
  type Op,
  type Plugin,
} from '@llmopt/core';
import { layerBudget } from './budget/layers.ts';
import { checkBudget, defaultCoefficients, keptChannels, type Site } from './budget.ts';
import { activationsIn } from './calibration/activations.ts';
import { openCalibration } from './calibration/artefact.ts';
import type { Calibration } from './calibration/calibration.ts';
import { compensate } from './compensation/compensate.ts';
import { applyRotation, needsCalibration } from './rotation/apply.ts';
import { forgetBases } from './rotation/basis.ts';
import { checkRotation, type Rotation } from './rotation/plan.ts';
import { sparsifyDefinition } from './sparsify.ts';

export interface LarosaOptions {
  /** Share of the layers' weights that each token skips, from 0 (nothing changes) to below 1. */
  sparsity: number;
  /** How the sparsity is spread over the inputs of a layer. Default .8, 4/3, .8, 1.4. */
  coefficients?: Partial<Record<Site, number>>;
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
  const coefficients = { ...defaultCoefficients, ...options.coefficients };
  const { sparsity } = options;
  const { budget = 'coefficients', rotation = 'none', values = false, compensation = false, calibration } = options;
  checkBudget(sparsity, coefficients);
  checkRotation(rotation);
  const needs = { rotation: rotation !== 'none', values, compensation, 'budget: layers': budget === 'layers' };
  for (const [option, used] of Object.entries(needs)) if (used && !calibration) throw needsCalibration(option);
  let skippedWeightShare = 0;
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    options: {
      ...{ sparsity, coefficients, budget, rotation, values, compensation },
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
      const { rewritten, skipped, total } = sparsifyGraph(rotated, (site, width, layer) =>
        perLayer ? perLayer(layer, site) : keptChannels(width, sparsity, coefficients[site]),
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

/** Puts a sparsify op in front of the projections of each layer; those that share an input share the list. */
export function sparsifyGraph(graph: Graph, keep: (site: Site, width: number, layer: number) => number) {
  const producers = new Map<string, Op>(
    graph.ops.flatMap((op) => Object.values<string>(op.outputs).map((name) => [name, op] as const)),
  );
  const lists = new Map<string, string>();
  let skipped = 0;
  let total = 0;
  const rewritten = mapOps(graph, (op) => {
    if (op.kind !== 'linear' || op.layer === undefined || op.inputs.channels !== undefined) return op;
    const { input } = op.inputs;
    const [outputs, width] = graph.params.get(op.params.weight)!.shape as [number, number];
    const kept = keep(siteOf(op, producers, graph), width, op.layer);
    total += outputs * width;
    skipped += outputs * (width - kept);
    const known = lists.get(input);
    const channels = known ?? `${input}.channels`;
    const linear: LinearOp = { ...op, inputs: { ...op.inputs, channels } };
    if (known) return linear;
    lists.set(input, channels);
    const sparsify: CustomOp = {
      kind: 'larosa.sparsify',
      layer: op.layer,
      inputs: { input },
      outputs: { channels },
      params: {},
      attributes: { keep: kept },
      definition: sparsifyDefinition,
    };
    return [sparsify, linear];
  });
  if (total === 0) {
    throw new LlmoptError('LLMOPT_GRAPH_INVALID', 'larosa found no projections in the layers of this model.', {
      hint: 'It works on architectures whose layers are made of linear ops.',
    });
  }
  return { rewritten, skipped, total };
}

/** Which of the four inputs a projection reads: told by what made the input and where the output goes, not by names. */
function siteOf(op: LinearOp, producers: ReadonlyMap<string, Op>, graph: Graph): Site {
  const producer = producers.get(op.inputs.input)?.kind;
  if (producer === 'attention') return 'attentionOutput';
  if (producer === 'gatedAct' || producer === 'act') return 'ffnMiddle';
  return feedsAttention(op.inputs.input, graph) ? 'attentionInput' : 'ffnInput';
}

/** Whether a projection of this value ends in attention, directly or through rope. */
function feedsAttention(input: string, graph: Graph): boolean {
  const projected = new Set(
    graph.ops
      .filter((op) => op.kind === 'linear' && op.inputs.input === input)
      .map((op) => (op as LinearOp).outputs.output),
  );
  for (const op of graph.ops)
    if (op.kind === 'rope' && projected.has(op.inputs.input)) projected.add(op.outputs.output);
  return graph.ops.some(
    (op) => op.kind === 'attention' && Object.values(op.inputs).some((name) => projected.has(name)),
  );
}
