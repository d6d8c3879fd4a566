import type { Backend } from '../backends/backend.ts';
import { reference } from '../backends/reference/index.ts';
import { LlmoptError } from '../errors.ts';
import { checkGraph } from '../graph/check.ts';
import type { Graph } from '../graph/graph.ts';
import { seededRandom } from '../pipeline/random.ts';
import { compile } from './forward.ts';
import type { CaseBatch, OpCase } from './opCase.ts';

export interface CheckOptions {
  /**
   * Largest allowed difference from the reference, as a share of the largest number of the value, or of 1 where that is smaller.
   * Default 1e-4.
   */
  tolerance?: number;
  /** The graph with the weights that the backend really uses, for one that quantises them. Default: the graph itself. */
  oracle?: (graph: Graph) => Promise<Graph>;
}

/** Where a backend is furthest from the reference. */
export interface Deviation {
  /** Name of the value. */
  readonly value: string;
  readonly sequence: number;
  readonly position: number;
  /** Which number of the row. */
  readonly index: number;
  readonly actual: number;
  readonly expected: number;
  /** As `tolerance` counts it. */
  readonly error: number;
}

interface Row {
  readonly sequence: number;
  readonly position: number;
}

/** By sequence and position. */
type Rows = Map<string, Row & { numbers: Float32Array }>;

/** By the name of the value, in the order of the graph. */
type Values = Map<string, Rows>;

/**
 * Runs a case on a backend and on the reference, and compares the logits, and all other values where the backend gives them out. A backend
 * without the capability `slots` is fed one sequence after the other. Resolves to the largest deviation.
 * @throws LLMOPT_CONFORMANCE when that is above the tolerance or not a number; what the backend throws
 */
export async function checkOp(backend: Backend, opCase: OpCase, options: CheckOptions = {}): Promise<Deviation> {
  const { tolerance = 1e-4, oracle } = options;
  const wholeValues = backend.capabilities.has('values');
  const actual = await run(backend, opCase, wholeValues);
  const weights = oracle ? await oracle(opCase.graph) : opCase.graph;
  const expected = await run(reference(), { ...opCase, graph: weights }, wholeValues);
  const deviations = [...expected].map(([value, rows]) => largestDeviation(value, actual.get(value)!, rows));
  // In the order of the graph, so that the first is where it begins. Not "above", which NaN is not.
  const wrong = deviations.find(({ error }) => !(error <= tolerance));
  if (!wrong) return deviations.reduce((worst, one) => (one.error > worst.error ? one : worst));
  throw new LlmoptError(
    'LLMOPT_CONFORMANCE',
    `${backend.name} computes ${wrong.actual} where the reference has ${wrong.expected}: "${wrong.value}", number ` +
      `${wrong.index}, sequence ${wrong.sequence}, position ${wrong.position}. The difference counts ` +
      `${wrong.error.toPrecision(3)}, and ${tolerance} is allowed. Case: ${opCase.name}.`,
    { where: { backend: backend.name, value: wrong.value } },
  );
}

export interface CheckModelOptions extends CheckOptions {
  /** Of the tokens and the batches. Default 1. */
  seed?: number;
}

/**
 * The same for a whole model: three sequences of random tokens, first each as one prompt, then together in pieces of few tokens.
 * Resolves to the largest deviation.
 * @throws LLMOPT_CONFORMANCE when that is above the tolerance or not a number; what the backend throws
 */
export async function checkModel(backend: Backend, graph: Graph, options: CheckModelOptions = {}): Promise<Deviation> {
  const { vocabularySize, contextLength } = graph.config;
  const random = seededRandom(options.seed ?? 1);
  const sequences = [24, 17, 5].map((length) =>
    Array.from({ length: Math.min(length, contextLength) }, () => Math.floor(random() * vocabularySize)),
  );
  const left = sequences.map(({ length }) => length);
  const pieces: CaseBatch['pieces'][] = [];
  while (left.some((rows) => rows > 0)) {
    const batch = left.map((rows, sequence) => ({ sequence, rows: Math.min(rows, Math.floor(random() * 4)) }));
    for (const { sequence, rows } of batch) left[sequence]! -= rows;
    const some = batch.filter(({ rows }) => rows > 0);
    if (some.length > 0) pieces.push(some);
  }
  // Which channels are alive may hang on the last bit of a number; what they do to the numbers must not.
  const values = [...checkGraph(graph)].flatMap(([name, { kind }]) =>
    kind === 'float' && name !== graph.logits ? [name] : [],
  );
  const prompts = sequences.map(({ length }, sequence) => [{ sequence, rows: length }]);
  const deviations: Deviation[] = [];
  for (const [name, batches] of Object.entries({ 'prompts at once': prompts, 'in pieces': pieces })) {
    const opCase = {
      name: `${graph.config.architecture}, ${name}`,
      graph,
      sequences,
      batches: batches.map(allLogits),
      values,
    };
    deviations.push(await checkOp(backend, opCase, options));
  }
  return deviations.reduce((worst, one) => (one.error > worst.error ? one : worst));
}

/** A batch all of whose rows want logits. */
function allLogits(pieces: CaseBatch['pieces']): CaseBatch {
  return { pieces, logits: Array.from({ length: rowCount({ pieces }) }, (_, row) => row) };
}

/** Every value of every row that the case asks for. */
async function run(backend: Backend, opCase: OpCase, wholeValues: boolean): Promise<Values> {
  const { graph, sequences, batches } = opCase;
  const infos = checkGraph(graph);
  const names = opCase.values ?? [...infos.keys()].filter((name) => name !== graph.logits);
  const values = wholeValues ? names.map((name) => ({ name, rows: infos.get(name)!.rows })) : [];
  const together = backend.capabilities.has('slots');
  const maxRows = Math.max(...batches.map(rowCount));
  const executable = await compile(backend, graph, { slots: together ? sequences.length : 1, maxRows });
  const found: Values = new Map();
  const keep = (name: string, rows: readonly Row[], numbers: Float32Array) => {
    const width = numbers.length / rows.length;
    const kept: Rows = found.get(name) ?? new Map();
    for (const [i, row] of rows.entries()) {
      kept.set(`${row.sequence} ${row.position}`, { ...row, numbers: numbers.slice(i * width, (i + 1) * width) });
    }
    found.set(name, kept);
  };
  try {
    for (const turn of together ? [batches] : sequences.map((_, sequence) => batchesOf(batches, sequence))) {
      const slots = new Map<number, number>();
      const slotOf = (sequence: number) => {
        const slot = slots.get(sequence) ?? executable.kv.acquire()!;
        slots.set(sequence, slot);
        return slot;
      };
      for (const { pieces, logits } of turn) {
        const rows = pieces.flatMap((piece) => {
          const from = executable.kv.length(slotOf(piece.sequence));
          return Array.from({ length: piece.rows }, (_, i) => ({ sequence: piece.sequence, position: from + i }));
        });
        const result = await executable.forward({
          tokens: rows.map(({ sequence, position }) => sequences[sequence]![position]!),
          slots: rows.map(({ sequence }) => slotOf(sequence)),
          positions: rows.map(({ position }) => position),
          logits,
          values: values.map(({ name, rows: kind }) => ({
            name,
            rows: [...(kind === 'batch' ? rows : logits).keys()],
          })),
        });
        const wanted = logits.map((row) => rows[row]!);
        for (const { name, rows: kind } of values) keep(name, kind === 'batch' ? rows : wanted, result.values[name]!);
        keep(graph.logits, wanted, result.logits);
      }
      for (const slot of slots.values()) executable.kv.release(slot);
    }
  } finally {
    await executable.dispose();
  }
  return found;
}

const rowCount = ({ pieces }: Pick<CaseBatch, 'pieces'>) => pieces.reduce((sum, { rows }) => sum + rows, 0);

/** What one sequence has of each batch. */
function batchesOf(batches: readonly CaseBatch[], sequence: number): CaseBatch[] {
  return batches.flatMap(({ pieces, logits }) => {
    const at = pieces.findIndex((piece) => piece.sequence === sequence);
    if (at < 0) return [];
    const before = rowCount({ pieces: pieces.slice(0, at) });
    const piece = pieces[at]!;
    const own = logits.map((row) => row - before).filter((row) => row >= 0 && row < piece.rows);
    return [{ pieces: [piece], logits: own }];
  });
}

function largestDeviation(value: string, actual: Rows, expected: Rows): Deviation {
  let largest = 1;
  for (const { numbers } of expected.values()) for (const x of numbers) largest = Math.max(largest, Math.abs(x));
  let worst: Deviation = { value, sequence: 0, position: 0, index: 0, actual: 0, expected: 0, error: 0 };
  for (const [key, { sequence, position, numbers }] of expected) {
    const row = actual.get(key)!.numbers;
    for (const [index, number] of numbers.entries()) {
      const error = Math.abs(row[index]! - number) / largest;
      // NaN is worst, and stays it.
      if (error <= worst.error || Number.isNaN(worst.error)) continue;
      worst = { value, sequence, position, index, actual: row[index]!, expected: number, error };
    }
  }
  return worst;
}
