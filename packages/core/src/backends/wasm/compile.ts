import type { Graph, ValueInfo } from '../../graph/graph.ts';
import { isCustom, type LinearOp, type Op, type RopeOp } from '../../ops/op.ts';
import { ropeAngle } from '../../ops/rope.ts';
import type { CompileOptions } from '../backend.ts';
import type { WasmCall, WasmLayout, WasmModule, WasmValue, WasmWork } from './abi.ts';
import type { Arena } from './arena.ts';
import {
  lowerAct,
  lowerAdd,
  lowerAttention,
  lowerEmbed,
  lowerGatedAct,
  lowerLayerNorm,
  lowerRmsNorm,
  lowerRope,
  lowerSelectRows,
} from './lower/core.ts';
import { lowerGroup, lowerOutputMajor } from './lower/linear.ts';
import type { LinearGroup } from './packing/groups.ts';
import type { KvPrecision, Precision } from './packing/sections.ts';
import { placeValues } from './values.ts';
import type { Weights } from './weights.ts';

/** A kernel call of the compiled list, with what it stands for. */
export interface Step {
  readonly module: WasmModule | 'core';
  readonly call: WasmCall;
  readonly kind: string;
  readonly layer: number | undefined;
  /** Values that are complete behind this call. */
  readonly produces: readonly string[];
}

/** Calls and values as one thread sees them. `words`: 32-bit words per row that mean something. */
export interface ThreadSteps {
  readonly steps: readonly Step[];
  readonly values: ReadonlyMap<string, WasmValue & { words: number }>;
}

/** A way to run the graph: one list of calls for all threads, or one per thread. */
export interface Variant {
  readonly threads: readonly ThreadSteps[];
}

export interface Compiled {
  readonly manyRows: Variant;
  /** Each thread has its own copy of every value but those that threads make together. */
  readonly oneRow: Variant;
  readonly batch: WasmLayout['batch'];
  readonly rowCount: number;
  readonly counters: Counters;
  readonly activationsBytes: number;
  /** Fills the tables for the first so many positions: to be called before a step that has them. */
  reach(positions: number): void;
}

/** Addresses of two counters by which calls deal out their work, in turns; both are 0 when a step begins. */
export type Counters = readonly [number, number];

/** What is compiled, and where to. */
interface Source {
  readonly graph: Graph;
  readonly infos: ReadonlyMap<string, ValueInfo>;
  readonly groups: ReadonlyMap<LinearOp, LinearGroup>;
  readonly weights: Weights;
  readonly arena: Arena;
}

/** What all variants share. */
interface Shared extends Source {
  readonly tables: PositionTables;
  readonly precision: Precision;
  readonly kv: KvPrecision;
  readonly contextLength: number;
  readonly batch: WasmLayout['batch'];
  readonly rowCount: number;
  readonly counters: Counters;
}

/** Places all values and scratch behind the weights, and lowers every op to kernel calls. */
export function compileSteps(
  source: Source,
  { threads, precision, kv }: { threads: number; precision: Precision; kv: KvPrecision },
  options: CompileOptions,
): Compiled {
  const maxRows = Math.ceil(options.maxRows / 4) * 4;
  const { arena } = source;
  const before = arena.position();
  const int32 = (count: number) => arena.allocate(count * 4, 'the batch');
  const batch = {
    tokens: int32(maxRows),
    slots: int32(maxRows),
    positions: int32(maxRows),
    prompt: int32(maxRows),
    logitRows: int32(maxRows),
    logitCount: int32(1),
    slotBases: int32(options.slots),
  };
  const tables = positionTables(arena, options.contextLength);
  const shared: Shared = {
    ...{ ...source, precision, kv, batch, tables },
    contextLength: options.contextLength,
    rowCount: int32(1),
    counters: [int32(1), int32(1)],
  };
  const manyRows = compileManyRows(shared, threads, maxRows);
  const oneRow = compileOneRow(shared, threads);
  const { rowCount, counters } = shared;
  const activationsBytes = arena.position() - before;
  return { manyRows, oneRow, batch, rowCount, counters, activationsBytes, reach: tables.reach };
}

function compileManyRows(shared: Shared, threads: number, maxRows: number): Variant {
  const { graph, infos, groups, arena } = shared;
  const { places, byteLength } = placeValues(graph, infos, groups, maxRows);
  const base = arena.allocate(byteLength, 'values');
  const values = mapPlaces(places, () => base);
  const steps = lowerAll(shared, values, { threads, maxRows, oneRow: false }, commonRanges(arena));
  return { threads: [{ steps, values }] };
}

/** Whether threads divide a row's work in this op, so that its outputs are in one place for all. */
const isSplit = (op: Op) => op.kind === 'linear' || op.kind === 'attention';

function compileOneRow(shared: Shared, threads: number): Variant {
  const { graph, infos, groups, arena } = shared;
  // Only split ops have a barrier behind them. A thread may read a shared value until it arrives at the next one, so the place is
  // free again behind that.
  const nextBarrier = graph.ops.map(() => Infinity);
  for (let index = graph.ops.length - 2; index >= 0; index--)
    nextBarrier[index] = isSplit(graph.ops[index + 1]!) ? index + 1 : nextBarrier[index + 1]!;
  const { places, byteLength } = placeValues(graph, infos, groups, 1, (index) => nextBarrier[index] ?? Infinity);
  const common = arena.allocate(byteLength, 'values');
  const commonScratch = commonRanges(arena);
  // The parts that threads make of attention are merged by each for itself.
  const sharedOps = graph.ops.filter((op) => op.kind === 'linear');
  const sharedNames = new Set(sharedOps.flatMap((op) => Object.values<string>(op.outputs)));
  return {
    threads: Array.from({ length: threads }, () => {
      const own = arena.allocate(byteLength, 'values');
      const values = mapPlaces(places, (name) => (sharedNames.has(name) ? common : own));
      return { steps: lowerAll(shared, values, { threads, maxRows: 1, oneRow: true }, commonScratch), values };
    }),
  };
}

function mapPlaces(places: ReadonlyMap<string, WasmValue & { words: number }>, baseOf: (name: string) => number) {
  return new Map([...places].map(([name, place]) => [name, { ...place, pointer: place.pointer + baseOf(name) }]));
}

function lowerAll(
  { graph, infos, groups, weights, arena, tables, precision, kv, contextLength, batch, rowCount, counters }: Shared,
  values: ThreadSteps['values'],
  sizes: Pick<WasmLayout, 'threads' | 'maxRows' | 'oneRow'>,
  commonScratch: WasmLayout['commonScratch'],
): Step[] {
  const scratch = sharedScratch(arena);
  let deals = 0;
  const layout: WasmLayout = {
    ...sizes,
    contextLength,
    batch,
    value: (name) => values.get(name)!,
    rows: (name) => (infos.get(name)!.rows === 'batch' ? rowCount : batch.logitCount),
    param: (name) => weights.vector(name),
    scratch: scratch.take,
    commonScratch,
    counters() {
      if (sizes.oneRow) return [0, 0];
      return deals++ % 2 === 0 ? counters : [counters[1], counters[0]];
    },
  };

  const workOf = (op: LinearOp): WasmWork => {
    const group = groups.get(op);
    const [outputs, inputs] = group
      ? [group.outputs, group.inputs]
      : (graph.params.get(op.params.weight)!.shape as [number, number]);
    return {
      shape: `${inputs}x${outputs}`,
      bytes: weights.byteLengthOf(group ?? op.params.weight),
      operationsPerRow: 2 * inputs * outputs,
      rows: layout.rows(op.inputs.input),
    };
  };

  const lower = (op: Op): readonly WasmCall[] => {
    switch (op.kind) {
      case 'embed':
        return lowerEmbed(
          op,
          layout,
          precision,
          weights.rows(op.params.weight),
          graph.params.get(op.params.weight)!.shape[0]!,
        );
      case 'rmsNorm':
        return lowerRmsNorm(op, layout);
      case 'layerNorm':
        return lowerLayerNorm(op, layout);
      case 'linear':
        return withWork(
          groups.has(op)
            ? lowerGroup(groups.get(op)!, layout, precision, weights.group(groups.get(op)!))
            : lowerOutputMajor(op, graph, layout, precision, weights.rows(op.params.weight)),
          workOf(op),
        );
      case 'rope':
        return lowerRope(
          op,
          layout,
          tables.place(`rope ${op.base} ${op.rotaryDim}`, op.rotaryDim, (position, row) => ropeRow(op, position, row)),
        );
      case 'attention':
        return lowerAttention(op, layout, kv);
      case 'gatedAct':
        return lowerGatedAct(op, layout);
      case 'act':
        return lowerAct(op, layout);
      case 'add':
        return lowerAdd(op, layout);
      case 'selectRows':
        return lowerSelectRows(op, layout);
      default:
        return op.definition.kernels.wasm!.lower(op, layout);
    }
  };

  const steps: Step[] = [];
  for (const op of graph.ops) {
    const members: readonly LinearOp[] = (op.kind === 'linear' && groups.get(op)?.ops) || [];
    if (members.length > 0 && members[0] !== op) continue;
    scratch.reset();
    const calls = lower(op);
    const produces = (members.length > 0 ? members : [op]).flatMap((member) => Object.values<string>(member.outputs));
    calls.forEach((call, i) => {
      steps.push({
        module: isCustom(op) ? op.definition.kernels.wasm!.module : 'core',
        call,
        kind: op.kind,
        layer: op.layer,
        produces: i === calls.length - 1 ? produces : [],
      });
    });
  }
  return steps;
}

/** A linear's weights are read by the first of its calls whose work threads divide. */
function withWork(calls: readonly WasmCall[], work: WasmWork): WasmCall[] {
  const reader = calls.findIndex((call) => call.split);
  return calls.map((call, i) => (i === reader ? { ...call, work } : call));
}

// One scratch for all ops of a list of calls: none outlives its op, and what threads make together is no scratch. Ranges are remembered, so that the n-th
// request of an op gets the n-th range, grown by a new one where it is too small.
function sharedScratch(arena: Arena) {
  const ranges: { start: number; bytes: number }[] = [];
  let used = 0;
  return {
    /** A new op begins. */
    reset: () => {
      used = 0;
    },
    take(bytes: number): number {
      const range = ranges[used];
      if (range && range.bytes >= bytes) {
        used++;
        return range.start;
      }
      const start = arena.allocate(bytes, 'scratch');
      ranges.splice(used++, range ? 1 : 0, { start, bytes });
      return start;
    },
  };
}

/** Ranges that all threads share, one per use and size. */
function commonRanges(arena: Arena): WasmLayout['commonScratch'] {
  const ranges = new Map<string, number>();
  return (use, bytes) => {
    const key = `${use} ${bytes}`;
    const at = ranges.get(key) ?? arena.allocate(bytes, 'scratch');
    ranges.set(key, at);
    return at;
  };
}

type FillRow = (position: number, row: Float32Array) => void;

interface PositionTables {
  /** The address of a table `[context, width]` of float32 that `fill` writes row by row; each key has one. */
  place(key: string, width: number, fill: FillRow): number;
  reach(positions: number): void;
}

const POSITIONS_AT_ONCE = 128;

/** Tables with a row per position. Rows that no sequence has come to yet are not filled: they take neither time nor memory. */
function positionTables(arena: Arena, contextLength: number): PositionTables {
  const tables = new Map<string, { at: number; width: number; fill: FillRow }>();
  let filled = 0;
  return {
    place(key, width, fill) {
      const known = tables.get(key);
      if (known) return known.at;
      const at = arena.allocate(contextLength * width * 4, 'tables');
      tables.set(key, { at, width, fill });
      return at;
    },
    reach(positions) {
      if (positions <= filled) return;
      const end = Math.min(contextLength, Math.ceil(positions / POSITIONS_AT_ONCE) * POSITIONS_AT_ONCE);
      for (const { at, width, fill } of tables.values()) {
        const rows = new Float32Array(arena.memory.buffer, at, end * width);
        for (let position = filled; position < end; position++)
          fill(position, rows.subarray(position * width, (position + 1) * width));
      }
      filled = end;
    },
  };
}

/** cos and sin of the angle of each pair, `[pairs, 2]`. */
function ropeRow(op: RopeOp, position: number, row: Float32Array): void {
  for (let pair = 0; pair < op.rotaryDim / 2; pair++) {
    const angle = ropeAngle(op, position, pair);
    row[pair * 2] = Math.cos(angle);
    row[pair * 2 + 1] = Math.sin(angle);
  }
}
