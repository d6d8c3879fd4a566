import type { ForwardResult } from '../backends/backend.ts';
import { LlmoptError } from '../errors.ts';
import type { LinearOp } from '../ops/op.ts';
import { checkGraph } from './check.ts';
import type { Graph } from './graph.ts';

export interface WeightBytesOptions {
  /** Bytes of a weight that is read; those of precise linears have 2 at least. Default 1: int8. */
  bytesPerWeight?: number;
  /** Bytes of a weight whose channel is not alive. Default 0: not read at all. */
  bytesPerOther?: (op: LinearOp) => number;
  /** How many channels of a list are alive. Default: as many as the graph allows for a row that is not of a prompt. */
  alive?: (channels: string) => number;
}

// int16
const PRECISE_BYTES = 2;

/**
 * Bytes of weights that count for one token: those of every linear, in the layers and outside (adapters, the head), but for channels that are
 * not alive. Without scales, biases, gains and the row of the embedding. A backend may read more, such as whole tiles of memory.
 * @throws LLMOPT_GRAPH_INVALID
 */
export function weightBytesPerToken(graph: Graph, options: WeightBytesOptions = {}): number {
  const { bytesPerWeight = 1, bytesPerOther = () => 0 } = options;
  const infos = checkGraph(graph);
  const alive = options.alive ?? ((channels) => infos.get(channels)!.most ?? infos.get(channels)!.width);
  let bytes = 0;
  for (const op of graph.ops) {
    if (op.kind !== 'linear') continue;
    const [outputs, inputs] = graph.params.get(op.params.weight)!.shape as [number, number];
    const count = op.inputs.channels === undefined ? inputs : alive(op.inputs.channels);
    const each = op.precise ? Math.max(PRECISE_BYTES, bytesPerWeight) : bytesPerWeight;
    bytes += outputs * (count * each + (inputs - count) * bytesPerOther(op));
  }
  return bytes;
}

/** Names of the channel lists that linears read: what `Batch.values` must ask for, so that they can be counted. */
export function channelLists(graph: Graph): string[] {
  const names = graph.ops.flatMap((op) => (op.kind === 'linear' && op.inputs.channels ? [op.inputs.channels] : []));
  return [...new Set(names)];
}

/**
 * `weightBytesPerToken` of each row of a forward, by the channels that were alive in it: `values` are those of a forward that was asked for all
 * `channelLists` of these rows.
 * @throws LLMOPT_BATCH_INVALID when one is missing, LLMOPT_GRAPH_INVALID
 */
export function weightBytesOfRows(
  graph: Graph,
  values: ForwardResult['values'],
  rows: number,
  options: Omit<WeightBytesOptions, 'alive'> = {},
): Float64Array {
  const counts = new Map<string, Float64Array>();
  for (const name of channelLists(graph)) {
    const masks = values[name];
    if (!masks) {
      throw new LlmoptError('LLMOPT_BATCH_INVALID', `The forward was not asked for the channels "${name}".`, {
        hint: 'Ask for all channelLists(graph) in the values of the batch.',
      });
    }
    const width = masks.length / rows;
    counts.set(
      name,
      new Float64Array(rows).map((_, row) => sum(masks.subarray(row * width, (row + 1) * width))),
    );
  }
  return Float64Array.from({ length: rows }, (_, row) =>
    weightBytesPerToken(graph, { ...options, alive: (channels) => counts.get(channels)![row]! }),
  );
}

function sum(numbers: Float32Array): number {
  let total = 0;
  for (let i = 0; i < numbers.length; i++) total += numbers[i]!;
  return total;
}
