import { type CustomOp, type Graph, type LinearOp, LlmoptError, mapOps, type Param, withParams } from '@llmopt/core';
import type { Site } from '../budget/coefficients.ts';
import { type LayerSite, layerSites } from '../sites.ts';
import { columnNorms } from './columnNorms.ts';
import { type Prefill, type Score, sparsifyDefinition } from './sparsify.ts';

export interface SparsifyOptions {
  /** Default `dense`. */
  prefill?: Prefill;
  /** Default `magnitude`. */
  score?: Score;
}

/** Of an input: how many channels stay alive, or the score from which on they do, and how many that are on average, where that is known. */
export type Selection = number | { readonly threshold: number; readonly expected?: number };

/**
 * Puts a sparsify op in front of the projections of each layer; those that share an input share the list, and where all channels stay alive
 * there is none. `select` says what of an input does. Also returns how many weights the layers have, and how many of them a token skips, on
 * average where thresholds choose; without `expected` these count as none.
 * @throws LLMOPT_GRAPH_INVALID when there are no projections
 */
export function sparsifyGraph(
  graph: Graph,
  select: (site: Site, width: number, place: LayerSite) => Selection,
  { prefill = 'dense', score = 'magnitude' }: SparsifyOptions = {},
): { rewritten: Graph; skipped: number; total: number } {
  const first = new Map<LinearOp, CustomOp>();
  const lists = new Map<LinearOp, string>();
  const norms = new Map<string, Param>();
  let skipped = 0;
  let total = 0;
  for (const place of layerSites(graph)) {
    const { input, width, site, layer } = place;
    const linears = place.linears.filter((op) => op.inputs.channels === undefined);
    if (linears.length === 0) continue;
    const selection = select(site, width, place);
    const channels = `${input}.channels`;
    const weights = linears.map((op) => graph.params.get(op.params.weight)!);
    const outputs = weights.reduce((sum, { shape }) => sum + shape[0]!, 0);
    total += outputs * width;
    if (selection === width) continue;
    const alive = typeof selection === 'number' ? selection : (selection.expected ?? width);
    skipped += outputs * (width - alive);
    const params: Record<string, string> = {};
    if (score === 'weighted') {
      params.norms = `${channels}.norms`;
      norms.set(params.norms, columnNorms(weights));
    }
    first.set(linears[0]!, {
      kind: 'larosa.sparsify',
      layer,
      inputs: { input },
      outputs: { channels },
      params,
      attributes: { ...(typeof selection === 'number' ? { keep: selection } : selection), prefill },
      definition: sparsifyDefinition,
    });
    for (const op of linears) lists.set(op, channels);
  }
  if (total === 0) {
    throw new LlmoptError('LLMOPT_GRAPH_INVALID', 'larosa found no projections in the layers of this model.', {
      hint: 'It works on architectures whose layers are made of linear ops.',
    });
  }
  const rewritten = mapOps(withParams(graph, norms), (op) => {
    const channels = op.kind === 'linear' ? lists.get(op) : undefined;
    if (op.kind !== 'linear' || channels === undefined) return op;
    const linear: LinearOp = { ...op, inputs: { ...op.inputs, channels } };
    const sparsify = first.get(op);
    return sparsify ? [sparsify, linear] : linear;
  });
  return { rewritten, skipped, total };
}
