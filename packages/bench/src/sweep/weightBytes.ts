import { checkGraph, type Graph, type LinearOp, type Param } from '@llmopt/core';

export type Precision = 'int8' | 'float32';

const bytesPerWeight: Readonly<Record<Precision, number>> = { int8: 1, float32: 4 };
/** Of a channel that is computed with coarse weights. */
const coarseBytes = 0.5;

const shapeOf = (graph: Graph, { params }: LinearOp) =>
  (graph.params.get(params.weight) as Param).shape as readonly [outputs: number, inputs: number];

/**
 * Bytes of the weights that a decode step reads: those of all linears (layers, adapters, head), without the channels that a list leaves
 * out. Scales, biases and norms, under a hundredth of it, are not counted. @throws LLMOPT_GRAPH_INVALID
 */
export function weightBytesPerToken(graph: Graph, precision: Precision): number {
  const values = checkGraph(graph);
  let bytes = 0;
  for (const op of graph.ops) {
    if (op.kind !== 'linear') continue;
    const [outputs, inputs] = shapeOf(graph, op);
    const list = op.inputs.channels === undefined ? undefined : values.get(op.inputs.channels);
    const alive = list?.most ?? inputs;
    const others = isCoarse(op) ? coarseBytes : 0;
    bytes += outputs * (alive * bytesPerWeight[precision] + (inputs - alive) * others);
  }
  return bytes;
}

/** Bytes of the linears in the layers alone: what sparsity is a share of. */
export function layerBytes(graph: Graph, precision: Precision): number {
  return graph.ops.reduce((sum, op) => {
    if (op.kind !== 'linear' || op.layer === undefined) return sum;
    const [outputs, inputs] = shapeOf(graph, op);
    return sum + outputs * inputs * bytesPerWeight[precision];
  }, 0);
}

const isCoarse = (op: LinearOp & { others?: unknown }) => op.others === 'coarse';
