import { checkGraph } from '../../graph/check.ts';
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
import { groupLinears, isOutputMajor, type LinearGroup } from './packing/groups.ts';
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
}

/** Addresses of two counters by which calls deal out their work, in turns; both are 0 when a step begins. */
export type Counters = readonly [number, number];

/** What all variants share. */
interface Shared {
  readonly graph: Graph;
  readonly infos: ReadonlyMap<string, ValueInfo>;
  readonly groups: ReadonlyMap<LinearOp, LinearGroup>;
  readonly weights: Weights;
  readonly arena: Arena;
  readonly tables: ReturnType<typeof constantTables>;
  readonly precision: Precision;
  readonly kv: KvPrecision;
  readonly contextLength: number;
  readonly batch: WasmLayout['batch'];
  readonly rowCount: number;
  readonly counters: Counters;
}

/** Places all values and scratch behind the weights, and lowers every op to kernel calls. */
export function compileSteps(
  graph: Graph,
  weights: Weights,
  arena: Arena,
  { threads, precision, kv }: { threads: number; precision: Precision; kv: KvPrecision },
  options: CompileOptions,
): Compiled {
  const maxRows = Math.ceil(options.maxRows / 4) * 4;
  const before = arena.position();
  const int32 = (count: number) => arena.allocate(count * 4, 'the batch');
  const batch = {
    tokens: int32(maxRows),
    slots: int32(maxRows),
    positions: int32(maxRows),
    logitRows: int32(maxRows),
    logitCount: int32(1),
    slotBases: int32(options.slots),
  };
  const infos = checkGraph(graph);
  const shared: Shared = {
    ...{ graph, infos, groups: groupLinears(graph, infos), weights, arena, precision, kv, batch },
    tables: constantTables(arena),
    contextLength: options.contextLength,
    rowCount: int32(1),
    counters: [int32(1), int32(1)],
  };
  const manyRows = compileManyRows(shared, threads, maxRows);
  const oneRow = compileOneRow(shared, threads);
  const { rowCount, counters } = shared;
  return { manyRows, oneRow, batch, rowCount, counters, activationsBytes: arena.position() - before };
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
  const barriers = graph.ops.flatMap((op, index) => (isSplit(op) ? [index] : []));
  const nextBarrier = (index: number) => barriers.find((barrier) => barrier > index) ?? Infinity;
  const { places, byteLength } = placeValues(graph, infos, groups, 1, nextBarrier);
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
          isOutputMajor(op, graph)
            ? lowerOutputMajor(op, graph, layout, precision, weights.rows(op.params.weight))
            : lowerGroup(groups.get(op)!, layout, precision, weights.group(groups.get(op)!)),
          workOf(op),
        );
      case 'rope':
        return lowerRope(
          op,
          layout,
          tables(`rope ${op.base} ${op.rotaryDim}`, () => ropeTable(op, contextLength)),
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

/** Places tables of constants in memory, each key once. */
function constantTables(arena: Arena) {
  const places = new Map<string, number>();
  return (key: string, make: () => Float32Array): number => {
    const known = places.get(key);
    if (known !== undefined) return known;
    const table = make();
    const at = arena.allocate(table.byteLength, 'tables');
    new Float32Array(arena.memory.buffer, at, table.length).set(table);
    places.set(key, at);
    return at;
  };
}

/** `[context, pairs, 2]`: cos and sin of the angle of each pair at each position. */
function ropeTable(op: RopeOp, contextLength: number): Float32Array {
  const pairs = op.rotaryDim / 2;
  const table = new Float32Array(contextLength * pairs * 2);
  for (let position = 0; position < contextLength; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = ropeAngle(op, position, pair);
      table[(position * pairs + pair) * 2] = Math.cos(angle);
      table[(position * pairs + pair) * 2 + 1] = Math.sin(angle);
    }
  }
  return table;
}
