import type { Graph, ValueInfo } from '../../../graph/graph.ts';
import type { LinearOp } from '../../../ops/op.ts';

/** Linears that read the same input through the same channels, so that their weights can share a record. */
export interface LinearGroup {
  readonly ops: readonly LinearOp[];
  readonly inputs: number;
  /** Of all linears together. */
  readonly outputs: number;
  /** How its int8 weights lie, and how a single row of which some channels are alive reads them. */
  readonly int8: Int8Plan;
}

/**
 * - `tiles`: tiles of 32 outputs, all read; channels that are not alive count as 0.
 * - `lines`: tiles, of which only the lines are read that hold a channel that is alive.
 * - `records`: one record per channel, of which only those that are alive are read.
 */
export type Int8Plan = 'tiles' | 'lines' | 'records';

// Skipping pays where memory can still be read fast. Measured (docs/performance.md): lines of 64 bytes in a stream as long as few are
// left out; records as long as they are long. Anything else takes longer than reading all.
const FEW_LINES_LEFT_OUT = 0.55;
const LONG_RECORD = { bytes: 2048, share: 0.55 };
const VERY_LONG_RECORD = { bytes: 8192, share: 0.85 };

function int8Plan(channels: ValueInfo | undefined, outputs: number): Int8Plan {
  if (channels === undefined) return 'tiles';
  const share = (channels.most ?? channels.width) / channels.width;
  const worthIt = ({ bytes, share: most }: typeof LONG_RECORD) => outputs >= bytes && share <= most;
  if (worthIt(LONG_RECORD) || worthIt(VERY_LONG_RECORD)) return 'records';
  return share >= FEW_LINES_LEFT_OUT ? 'lines' : 'tiles';
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
export function groupLinears(graph: Graph, infos: ReadonlyMap<string, ValueInfo>): ReadonlyMap<LinearOp, LinearGroup> {
  const byInput = new Map<string, LinearOp[]>();
  for (const op of graph.ops) {
    if (op.kind !== 'linear' || isOutputMajor(op, graph)) continue;
    const key = JSON.stringify([op.inputs.input, op.inputs.channels]);
    byInput.set(key, [...(byInput.get(key) ?? []), op]);
  }
  const groups = new Map<LinearOp, LinearGroup>();
  for (const ops of byInput.values()) {
    const shapes = ops.map((op) => graph.params.get(op.params.weight)!.shape);
    const outputs = shapes.reduce((sum, shape) => sum + shape[0]!, 0);
    const { channels } = ops[0]!.inputs;
    const int8 = int8Plan(channels === undefined ? undefined : infos.get(channels), outputs);
    const group = { ops, inputs: shapes[0]![1]!, outputs, int8 };
    for (const op of ops) groups.set(op, group);
  }
  return groups;
}
