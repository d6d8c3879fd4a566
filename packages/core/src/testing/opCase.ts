import { checkOps } from '../graph/check.ts';
import type { Graph, ModelConfig, Param, ValueInfo } from '../graph/graph.ts';
import type { OpDefinition } from '../ops/define.ts';
import type { CustomOp, Op } from '../ops/op.ts';
import { seededRandom } from '../pipeline/random.ts';
import { channelsAboveZero, channelsOp } from './channelsOp.ts';

/** A value that is fed to the ops under test. */
export interface CaseInput {
  readonly width: number;
  /** `batch` (default): a row per token. `logits`: a row per token that wants logits. */
  readonly rows?: ValueInfo['rows'];
  /** Numbers lie around `offset`, about `scale` away from it. Default 0 and 1. */
  readonly offset?: number;
  readonly scale?: number;
  /** Name of the parameter `[tokens, width]` whose rows these are, if the ops have it too. */
  readonly embedding?: string;
  /** Channel lists instead of numbers: how many are alive at most, and whether the graph tells. Default definition: `channelsAboveZero`. */
  readonly channels?: { readonly most: number; readonly told: boolean; readonly definition?: OpDefinition<CustomOp> };
}

export interface CaseParam {
  readonly shape: readonly number[];
  /** Numbers lie around `offset`, about `scale` away. Default 0 and 1/√(last size), by which a product keeps the size of its input. */
  readonly offset?: number;
  readonly scale?: number;
}

export interface OpCaseSpec {
  /** What messages call it. */
  readonly name: string;
  /** All numbers and tokens depend on it. */
  readonly seed: number;
  /** By the name of the value. */
  readonly inputs: Readonly<Record<string, CaseInput>>;
  /** By name. Default: none. */
  readonly params?: Readonly<Record<string, CaseParam>>;
  /** The ops under test, over these inputs and parameters. */
  readonly ops: readonly Op[];
  /** Values that become logits; one of the width of the vocabulary already holds them. Default: all that the ops make. */
  readonly outputs?: readonly string[];
  readonly config?: Partial<ModelConfig>;
  /** Tokens of each sequence. Default: one of 5. */
  readonly lengths?: readonly number[];
  /** Rows of a batch, in which the sequences take turns. Default 32. */
  readonly batchRows?: number;
  /** Share of the rows that want logits, in any order. Default: all, in their order. */
  readonly wanted?: number;
}

export interface CaseBatch {
  /** Pieces of sequences, each going on where the sequence stopped. */
  readonly pieces: readonly { readonly sequence: number; readonly rows: number }[];
  /** Rows of this batch that want logits. */
  readonly logits: readonly number[];
}

/** A graph and what to feed it. */
export interface OpCase {
  readonly name: string;
  readonly graph: Graph;
  /** Tokens by sequence. */
  readonly sequences: readonly (readonly number[])[];
  readonly batches: readonly CaseBatch[];
  /** Values to compare beside the logits, where the backend gives them out. Default: all. */
  readonly values?: readonly string[];
}

const VOCABULARY = 61;

/**
 * Puts ops in a graph of their own: their inputs are looked up by token, and what they make goes through a matrix to the logits, so that
 * a backend that gives out nothing else is tested too.
 * @throws LLMOPT_GRAPH_INVALID when the ops do not fit the inputs
 */
export function opCase(spec: OpCaseSpec): OpCase {
  const random = seededRandom(spec.seed);
  const params = new Map<string, Param>();
  const addParam = (name: string, { shape, offset = 0, scale = 1 / Math.sqrt(shape.at(-1)!) }: CaseParam) => {
    // Each has a seed of its own, so that nothing is computed before it is read.
    const own = seededRandom(Math.floor(random() * 2 ** 31));
    // The sum of three is 1/2 away from its mean, on average.
    const number = () => offset + scale * 2 * (own() + own() + own() - 1.5);
    const length = shape.reduce((product, size) => product * size, 1);
    params.set(name, {
      shape,
      key: name,
      read: constant(shape, () => Float32Array.from({ length }, number)),
    });
  };
  for (const [name, param] of Object.entries(spec.params ?? {})) addParam(name, param);
  const ops: Op[] = [];
  for (const [name, input] of Object.entries(spec.inputs)) {
    const { width, offset = 0, scale = 1, channels, embedding = `${name}.rows` } = input;
    if (channels) params.set(embedding, selectors(embedding, width, channels.most, random));
    else if (!params.has(embedding)) addParam(embedding, { shape: [VOCABULARY, width], offset, scale });
    ops.push(...inputOps(name, input, embedding));
  }
  ops.push(...spec.ops);
  const outputs = spec.outputs ?? spec.ops.flatMap((op) => Object.values<string>(op.outputs));
  const config = { ...smallest, ...spec.config };
  const logits = addHead({ config, params, ops }, outputs, ops, addParam);

  const tokens = Math.min(...ops.flatMap((op) => (op.kind === 'embed' ? params.get(op.params.weight)!.shape[0]! : [])));
  const sequences = (spec.lengths ?? [5]).map((length) =>
    Array.from({ length }, () => Math.floor(random() * Math.min(tokens, VOCABULARY))),
  );
  const contextLength = Math.max(...sequences.map(({ length }) => length));
  const graph = { config: { ...config, contextLength }, params, ops, logits };
  const batches = takeTurns(sequences, spec.batchRows ?? 32).map((pieces) => {
    const rows = pieces.reduce((sum, piece) => sum + piece.rows, 0);
    return { pieces, logits: wantedRows(rows, spec.wanted, random) };
  });
  return { name: spec.name, graph, sequences, batches };
}

const smallest: ModelConfig = {
  architecture: 'testing',
  ...{ layers: 1, width: 4, heads: 1, kvHeads: 1, headDim: 4, vocabularySize: VOCABULARY, contextLength: 1 },
};

/** What makes an input: a look-up, then only the rows that want logits, then the channels of which the numbers are above 0. */
function inputOps(name: string, { rows, channels }: CaseInput, weight: string): Op[] {
  const looked: Op = { kind: 'embed', inputs: {}, outputs: { output: `${name}.looked` }, params: { weight } };
  const ops: Op[] = [looked];
  let value = `${name}.looked`;
  if (rows === 'logits') {
    ops.push({ kind: 'selectRows', inputs: { input: value }, outputs: { output: `${name}.selected` }, params: {} });
    value = `${name}.selected`;
  }
  if (channels) {
    const { definition = channelsAboveZero, most, told } = channels;
    return [...ops, channelsOp(definition, value, name, told ? { most } : {})];
  }
  const last = ops.pop()!;
  return [...ops, { ...last, outputs: { output: name } } as Op];
}

/** Numbers of which at most `most` are above 0: for token 0 none, for token 1 all of these, for others any number. */
function selectors(key: string, width: number, most: number, random: () => number): Param {
  const shape = [VOCABULARY, width];
  const data = new Float32Array(VOCABULARY * width).fill(-1);
  for (let token = 0; token < VOCABULARY; token++) {
    const alive = [0, most][token] ?? Math.round(random() * most);
    const channels = Array.from({ length: width }, (_, channel) => ({ channel, order: random() }));
    channels.sort((a, b) => a.order - b.order);
    for (const { channel } of channels.slice(0, alive)) data[token * width + channel] = 1;
  }
  return { shape, key, read: constant(shape, () => data) };
}

/** Reads numbers that are made when first asked for. */
function constant(shape: readonly number[], make: () => Float32Array): Param['read'] {
  const width = shape[1] ?? 1;
  let data: Float32Array | undefined;
  return async (rows) => {
    data ??= make();
    return rows ? data.slice(rows[0] * width, rows[1] * width) : data.slice();
  };
}

/** Adds the logits: for each output a matrix, and the sum of all. Channel lists choose among what they were made of. */
function addHead(
  graph: Omit<Graph, 'logits'>,
  outputs: readonly string[],
  ops: Op[],
  addParam: (name: string, param: CaseParam) => void,
): string {
  const infos = checkOps(graph);
  const [only] = outputs;
  const info = infos.get(only!)!;
  if (outputs.length === 1 && info.rows === 'logits' && info.width === graph.config.vocabularySize) return only!;
  let sum: string | undefined;
  for (const name of outputs) {
    const { kind, width, rows } = infos.get(name)!;
    const weight = `${name}.head`;
    addParam(weight, { shape: [graph.config.vocabularySize, width] });
    const maker = ops.find((op) => Object.values<string>(op.outputs).includes(name))!;
    const inputs =
      kind === 'float' ? { input: name } : { input: Object.values<string>(maker.inputs)[0]!, channels: name };
    let part = `${name}.logits`;
    ops.push({ kind: 'linear', inputs, outputs: { output: part }, params: { weight } });
    if (rows === 'batch') {
      ops.push({ kind: 'selectRows', inputs: { input: part }, outputs: { output: `${part}.selected` }, params: {} });
      part = `${part}.selected`;
    }
    if (sum !== undefined) {
      const output = `${part}.sum`;
      ops.push({ kind: 'add', inputs: { left: sum, right: part }, outputs: { output }, params: {} });
      part = output;
    }
    sum = part;
  }
  return sum!;
}

/** Batches in which the sequences take turns, by pieces of up to a third of a batch. */
function takeTurns(sequences: readonly (readonly number[])[], batchRows: number): CaseBatch['pieces'][] {
  const left = sequences.map(({ length }) => length);
  const batches: { sequence: number; rows: number }[][] = [];
  const piece = sequences.length === 1 ? batchRows : Math.ceil(batchRows / 3);
  while (left.some((rows) => rows > 0)) {
    const pieces: { sequence: number; rows: number }[] = [];
    let room = batchRows;
    for (const sequence of left.keys()) {
      const rows = Math.min(left[sequence]!, piece, room);
      if (rows === 0) continue;
      left[sequence]! -= rows;
      room -= rows;
      pieces.push({ sequence, rows });
    }
    batches.push(pieces);
  }
  return batches;
}

function wantedRows(rows: number, share: number | undefined, random: () => number): number[] {
  const all = Array.from({ length: rows }, (_, row) => row);
  if (share === undefined) return all;
  return all
    .map((row) => ({ row, order: random() }))
    .sort((a, b) => a.order - b.order)
    .slice(0, Math.round(rows * share))
    .map(({ row }) => row);
}
