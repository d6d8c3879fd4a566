import type { Graph, ValueInfo } from '../../../graph/graph.ts';
import type { LinearOp } from '../../../ops/op.ts';

/** Linears that read the same input through the same channels, so that their weights can share a record. */
export interface LinearGroup {
  readonly ops: readonly LinearOp[];
  readonly inputs: number;
  /** Of all linears together. */
  readonly outputs: number;
  /** How its int8 weights lie. */
  readonly int8: Int8Layout;
  /** Its weights are int16 where others are int8. */
  readonly precise: boolean;
}

/**
 * - `tiles`: tiles of 32 outputs, all read; channels that are not alive count as 0.
 * - `records`: one record per channel; a single row reads only those of channels that are alive.
 */
export type Int8Layout = 'tiles' | 'records';

// A stream of memory comes faster than scattered records, the more so the shorter they are: records pay only where few enough of
// them are read. Measured, see docs/performance.md: bytes of a record, and the share of them up to which records are faster.
const recordsPay = [
  { bytes: 8192, share: 0.85 },
  { bytes: 2048, share: 0.55 },
  { bytes: 512, share: 0.3 },
];

function int8Layout(channels: ValueInfo | undefined, outputs: number): Int8Layout {
  if (channels === undefined) return 'tiles';
  const alive = (channels.most ?? channels.width) / channels.width;
  return recordsPay.some(({ bytes, share }) => outputs >= bytes && alive <= share) ? 'records' : 'tiles';
}

// A matrix this tall is faster as one row per output: its partial sums would not fit the first-level caches.
const TALL = 16_384;

/**
 * The channel-major linears of a graph in groups, by each of their members. The others lie output-major: the head, and those whose
 * weight is also the embedding.
 */
export function groupLinears(graph: Graph, infos: ReadonlyMap<string, ValueInfo>): ReadonlyMap<LinearOp, LinearGroup> {
  const embeddings = new Set(graph.ops.flatMap((op) => (op.kind === 'embed' ? [op.params.weight] : [])));
  const byInput = new Map<string, LinearOp[]>();
  for (const op of graph.ops) {
    if (op.kind !== 'linear') continue;
    const { weight } = op.params;
    if (embeddings.has(weight) || graph.params.get(weight)!.shape[0]! > TALL) continue;
    const key = JSON.stringify([op.inputs.input, op.inputs.channels, op.precise ?? false]);
    byInput.set(key, [...(byInput.get(key) ?? []), op]);
  }
  const groups = new Map<LinearOp, LinearGroup>();
  for (const ops of byInput.values()) {
    const shapes = ops.map((op) => graph.params.get(op.params.weight)!.shape);
    const outputs = shapes.reduce((sum, shape) => sum + shape[0]!, 0);
    const { channels } = ops[0]!.inputs;
    const int8 = int8Layout(channels === undefined ? undefined : infos.get(channels), outputs);
    const group = { ops, inputs: shapes[0]![1]!, outputs, int8, precise: ops[0]!.precise ?? false };
    for (const op of ops) groups.set(op, group);
  }
  return groups;
}
