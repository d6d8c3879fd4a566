import { type Graph, weightBytesPerToken } from '@llmopt/core';

export type Precision = 'int8' | 'float32';

const bytesPerWeight: Readonly<Record<Precision, number>> = { int8: 1, float32: 4 };

/** Bytes of the weights that count for a token: of all linears (layers, adapters, head). @throws LLMOPT_GRAPH_INVALID */
export function weightBytes(graph: Graph, precision: Precision): number {
  return weightBytesPerToken(graph, { bytesPerWeight: bytesPerWeight[precision] });
}

/** Bytes of the linears in the layers alone, all channels of them: what sparsity is a share of. */
export function layerBytes(graph: Graph, precision: Precision): number {
  let weights = 0;
  for (const op of graph.ops) {
    if (op.kind !== 'linear' || op.layer === undefined) continue;
    const [outputs, inputs] = graph.params.get(op.params.weight)!.shape as [number, number];
    weights += outputs * inputs;
  }
  return weights * bytesPerWeight[precision];
}
