import type { Graph } from '../../../graph/graph.ts';
import type { LinearOp } from '../../../ops/op.ts';

/** Linears that read the same input through the same channels, so that their weights can share a record. */
export interface LinearGroup {
  readonly ops: readonly LinearOp[];
  readonly inputs: number;
  /** Of all linears together. */
  readonly outputs: number;
}

// A matrix this tall is faster as one row per output: its partial sums would not fit the first-level caches.
const TALL = 16_384;

/** Whether a linear's weights lie output-major: those of the head, and those that are also the embedding. */
export function isOutputMajor(op: LinearOp, graph: Graph): boolean {
  const { weight } = op.params;
  return (
    graph.params.get(weight)!.shape[0]! > TALL ||
    graph.ops.some((other) => other.kind === 'embed' && other.params.weight === weight)
  );
}

/** The channel-major linears of a graph in groups, by each of their members. */
export function groupLinears(graph: Graph): ReadonlyMap<LinearOp, LinearGroup> {
  const byInput = new Map<string, LinearOp[]>();
  for (const op of graph.ops) {
    if (op.kind !== 'linear' || isOutputMajor(op, graph)) continue;
    const key = JSON.stringify([op.inputs.input, op.inputs.channels]);
    byInput.set(key, [...(byInput.get(key) ?? []), op]);
  }
  const groups = new Map<LinearOp, LinearGroup>();
  for (const ops of byInput.values()) {
    const shapes = ops.map((op) => graph.params.get(op.params.weight)!.shape);
    const group = { ops, inputs: shapes[0]![1]!, outputs: shapes.reduce((sum, shape) => sum + shape[0]!, 0) };
    for (const op of ops) groups.set(op, group);
  }
  return groups;
}
