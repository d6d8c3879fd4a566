import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import { isCustom, type LinearOp, type Op, type RopeOp } from '../../ops/op.ts';
import { ropeAngle } from '../../ops/rope.ts';
import type { CompileOptions } from '../backend.ts';
import type { WasmCall, WasmLayout, WasmModule, WasmValue } from './abi.ts';
import type { Arena } from './arena.ts';
import {
  lowerAdd,
  lowerAttention,
  lowerEmbed,
  lowerGatedAct,
  lowerRmsNorm,
  lowerRope,
  lowerSelectRows,
} from './lower/core.ts';
import { lowerGroup, lowerOutputMajor } from './lower/linear.ts';
import { groupLinears, isOutputMajor } from './packing/groups.ts';
import type { Precision } from './packing/sections.ts';
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

export interface Compiled {
  readonly steps: readonly Step[];
  /** `words`: 32-bit words per row that mean something. */
  readonly values: ReadonlyMap<string, WasmValue & { words: number }>;
  readonly batch: WasmLayout['batch'];
  readonly rowCount: number;
  readonly activationsBytes: number;
}

/** Places all values and scratch behind the weights, and lowers every op to kernel calls. */
export function compileSteps(
  graph: Graph,
  weights: Weights,
  arena: Arena,
  threads: number,
  precision: Precision,
  options: CompileOptions,
): Compiled {
  const infos = checkGraph(graph);
  const groups = groupLinears(graph);
  const maxRows = Math.ceil(options.maxRows / 4) * 4;
  const before = arena.position();
  const int32 = (count: number, what: string) => arena.allocate(count * 4, what);
  const batch = {
    tokens: int32(maxRows, 'the batch'),
    slots: int32(maxRows, 'the batch'),
    positions: int32(maxRows, 'the batch'),
    logitRows: int32(maxRows, 'the batch'),
    logitCount: int32(1, 'the batch'),
    slotBases: int32(options.slots, 'the batch'),
  };
  const rowCount = int32(1, 'the batch');
  const placed = placeValues(graph, infos, groups, maxRows);
  const base = arena.allocate(placed.byteLength, 'values');
  const values = new Map(
    [...placed.places].map(([name, place]) => [name, { ...place, pointer: place.pointer + base }]),
  );

  const scratch = sharedScratch(arena);
  const tables = constantTables(arena);
  const layout: WasmLayout = {
    threads,
    maxRows,
    contextLength: options.contextLength,
    batch,
    value: (name) => values.get(name)!,
    rows: (name) => (infos.get(name)!.rows === 'batch' ? rowCount : batch.logitCount),
    param: (name) => weights.vector(name),
    scratch: scratch.take,
    table: (key, make) => tables.int32(key, make),
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
      case 'linear':
        return isOutputMajor(op, graph)
          ? lowerOutputMajor(op, graph, layout, precision, weights.rows(op.params.weight))
          : lowerGroup(groups.get(op)!, layout, precision, weights.group(groups.get(op)!));
      case 'rope':
        return lowerRope(
          op,
          layout,
          tables.float32(`rope ${op.base} ${op.rotaryDim}`, () => ropeTable(op, options.contextLength)),
        );
      case 'attention':
        return lowerAttention(op, layout);
      case 'gatedAct':
        return lowerGatedAct(op, layout);
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
  return { steps, values, batch, rowCount, activationsBytes: arena.position() - before };
}

// One scratch for all ops: none outlives its op, and a barrier stands behind each call. Ranges are remembered, so that the n-th
// request of an op gets the n-th range, grown by a new one where it is too small.
function sharedScratch(arena: Arena) {
  const ranges: { start: number; bytes: number }[] = [];
  let used = 0;
  return {
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

function constantTables(arena: Arena) {
  const places = new Map<string, number>();
  function place(key: string, make: () => Int32Array | Float32Array): number {
    const known = places.get(key);
    if (known !== undefined) return known;
    const table = make();
    const at = arena.allocate(table.byteLength, 'tables');
    new Uint8Array(arena.memory.buffer, at, table.byteLength).set(new Uint8Array(table.buffer));
    places.set(key, at);
    return at;
  }
  return {
    int32: (key: string, make: () => Int32Array) => place(key, make),
    float32: (key: string, make: () => Float32Array) => place(key, make),
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
