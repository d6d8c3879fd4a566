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
import { checkBudget, defaultCoefficients, keptChannels, type Site } from './budget.ts';
import { checkKnown } from './knownOptions.ts';
import { sparsifyDefinition } from './sparsify.ts';

export interface LarosaOptions {
  /** Share of the layers' weights that each token skips, from 0 (nothing changes) to below 1. */
  sparsity: number;
  /** How the sparsity is spread over the inputs of a layer. Default .8, 4/3, .8, 1.4. */
  coefficients?: Partial<Record<Site, number>>;
}

/**
 * Sparse activations: of the input of every projection, each token keeps the largest numbers (exact Top-K by magnitude), and the
 * weights of the other channels are neither read nor multiplied. Rotation is not part of this version.
 * @throws LLMOPT_OPTION_INVALID
 */
export function larosa(options: LarosaOptions): Plugin {
  checkKnown(options);
  const coefficients = { ...defaultCoefficients, ...options.coefficients };
  const { sparsity } = options;
  checkBudget(sparsity, coefficients);
  let skippedWeightShare = 0;
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    options: { sparsity, coefficients },
    fidelity: sparsity === 0 ? 'exact' : 'approximate',
    // A plugin that adds rows to the embedding goes first, so that nothing it adds is missed.
    after: ['adaptivocab'],
    requires: ['channels'],
    graph(graph) {
      const { rewritten, skipped, total } = sparsifyGraph(graph, (site, width) =>
        keptChannels(width, sparsity, coefficients[site]),
      );
      skippedWeightShare = skipped / total;
      return rewritten;
    },
    metrics: () => ({ 'larosa.skippedWeightShare': skippedWeightShare }),
  });
}

/** Puts a sparsify op in front of the projections of each layer; those that share an input share the list. */
export function sparsifyGraph(graph: Graph, keep: (site: Site, width: number) => number) {
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
    const kept = keep(siteOf(op, producers, graph), width);
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
