import type { Op } from '../ops/op.ts';

/** Facts of a model that do not change while it runs. */
export interface ModelConfig {
  readonly architecture: string;
  readonly layers: number;
  /** Width of the residual stream. */
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabularySize: number;
  /** Tokens per sequence that the model was trained for. */
  readonly contextLength: number;
}

/** A weight. Nothing is in memory until `read` is called. */
export interface Param {
  /** `[out, in]` for a matrix, `[n]` for a vector. */
  readonly shape: readonly number[];
  /**
   * Names everything the numbers depend on within the checkpoint: tensor, and the passes that rewrote it. Parameters of equal keys are
   * equal, in shape and numbers.
   */
  readonly key: string;
  /** float32, row-major; `rows` picks a range `[from, to)` of the first dimension. */
  read(rows?: readonly [from: number, to: number]): Promise<Float32Array>;
}

/**
 * A model as data: a flat list of ops over named values, in the order they run, with named parameters.
 * Graphs are never changed in place: a pass returns a new one.
 */
export interface Graph {
  readonly config: ModelConfig;
  readonly params: ReadonlyMap<string, Param>;
  readonly ops: readonly Op[];
  /** The value that holds the logits. */
  readonly logits: string;
}

/**
 * What a value holds per row: `float` is `width` float32 numbers; `channels` is a list of at most `width`
 * ascending channel indices. A value has one row per token of the batch, or one per row that wants logits.
 */
export interface ValueInfo {
  readonly kind: 'float' | 'channels';
  readonly width: number;
  /**
   * Of `channels`: how many of the `width` the list of a row has at most that does not belong to a prompt, or, where lists differ in length, on
   * average. Backends choose a layout by it; a longer list must work all the same.
   */
  readonly most?: number;
  readonly rows: 'batch' | 'logits';
}

/** A new graph in which each op was replaced by what `rewrite` returns: itself, or one or more ops. */
export function mapOps(graph: Graph, rewrite: (op: Op) => Op | readonly Op[]): Graph {
  return { ...graph, ops: graph.ops.flatMap((op) => rewrite(op)) };
}

/** A new graph with some parameters added or replaced. */
export function withParams(graph: Graph, params: Iterable<readonly [name: string, param: Param]>): Graph {
  return { ...graph, params: new Map([...graph.params, ...params]) };
}
