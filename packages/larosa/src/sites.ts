import type { CoreOp, Graph, LinearOp, Op } from '@llmopt/core';
import type { Site } from './budget/coefficients.ts';

/** One of the four inputs of a layer, and the projections that read it. */
export interface LayerSite {
  readonly layer: number;
  readonly site: Site;
  /** Name of the value. */
  readonly input: string;
  readonly width: number;
  readonly linears: readonly LinearOp[];
  /** The RMS norm that makes the input, where one does. */
  readonly norm: RmsNormOp | undefined;
  /** The attention whose output the input is, where it is one. */
  readonly attention: AttentionOp | undefined;
}

type RmsNormOp = Extract<CoreOp, { kind: 'rmsNorm' }>;
type AttentionOp = Extract<CoreOp, { kind: 'attention' }>;

/** The inputs of the projections of every layer, in the order of the graph: told by what makes and what reads them, not by names. */
export function layerSites(graph: Graph): LayerSite[] {
  const producers = producersOf(graph);
  const readers = new Map<string, LinearOp[]>();
  for (const op of graph.ops) {
    if (op.kind !== 'linear' || op.layer === undefined) continue;
    const known = readers.get(op.inputs.input);
    if (known) known.push(op);
    else readers.set(op.inputs.input, [op]);
  }
  return [...readers].map(([input, linears]) => {
    const producer = producers.get(input);
    return {
      layer: linears[0]!.layer!,
      site: siteOf(input, producer, graph),
      input,
      width: graph.params.get(linears[0]!.params.weight)!.shape[1]!,
      linears,
      norm: producer?.kind === 'rmsNorm' ? producer : undefined,
      attention: producer?.kind === 'attention' ? producer : undefined,
    };
  });
}

/** The op that makes each value. */
export function producersOf(graph: Graph): ReadonlyMap<string, Op> {
  return new Map(graph.ops.flatMap((op) => Object.values<string>(op.outputs).map((name) => [name, op] as const)));
}

function siteOf(input: string, producer: Op | undefined, graph: Graph): Site {
  if (producer?.kind === 'attention') return 'attentionOutput';
  if (producer?.kind === 'gatedAct' || producer?.kind === 'act') return 'ffnMiddle';
  return feedsAttention(input, graph) ? 'attentionInput' : 'ffnInput';
}

/** Whether a projection of this value ends in attention, directly or through rope. */
function feedsAttention(input: string, graph: Graph): boolean {
  const projected = new Set<string>();
  for (const op of graph.ops) {
    if (op.kind === 'linear' && op.inputs.input === input) projected.add(op.outputs.output);
    if (op.kind === 'rope' && projected.has(op.inputs.input)) projected.add(op.outputs.output);
    if (op.kind === 'attention' && Object.values(op.inputs).some((name) => projected.has(name))) return true;
  }
  return false;
}
