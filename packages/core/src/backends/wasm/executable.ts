import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import { kvReport } from '../../kv/report.ts';
import type { Batch, CompileOptions, Executable, ForwardResult } from '../backend.ts';
import { prepareBatch } from '../batch.ts';
import { type Arena, createArena } from './arena.ts';
import { type Compiled, compileSteps } from './compile.ts';
import { control, sharedMilliseconds, TIMES_HEADER } from './control.ts';
import { compileModule, type VectorBits } from './kernelModules.ts';
import { createKvMemory } from './kvMemory.ts';
import { groupLinears } from './packing/groups.ts';
import type { KvPrecision, Precision } from './packing/sections.ts';
import { createPool } from './pool.ts';
import { createProfiler } from './profiler.ts';
import { link, type Program } from './program.ts';
import { placeSlots } from './slots.ts';
import { placeWeights } from './weights.ts';

export interface WasmSettings {
  threads: number;
  precision: Precision;
  kv: KvPrecision;
  profile: boolean;
  vectorBits: VectorBits;
}

// A few tenths of a millisecond of memory, and well within a last-level cache.
const READ_AHEAD_BYTES = 8 * 2 ** 20;

export async function compileWasm(
  graph: Graph,
  settings: WasmSettings,
  options: CompileOptions,
  arena: Arena = createArena(),
): Promise<Executable> {
  const infos = checkGraph(graph);
  const { memory } = arena;
  const controlAt = arena.allocate(control.bytes, 'control');
  const groups = groupLinears(graph, infos);
  const weights = placeWeights(graph, groups, arena, settings);
  const compiled = compileSteps({ graph, infos, groups, weights, arena }, settings, options);
  const linked = link(compiled, arena, options.maxRows, settings.profile);
  const { batch: batchPlaces, reach, activationsBytes } = compiled;
  const weightsBytes = weights.byteLength;
  const logitsPlaces = {
    manyRows: compiled.manyRows.threads[0]!.values.get(graph.logits)!,
    oneRow: compiled.oneRow.threads[0]!.values.get(graph.logits)!,
  };
  const timesLength = settings.profile ? TIMES_HEADER + linked.cells.length : 0;
  const timesAt = arena.allocate(timesLength * 8, 'profile');
  const plain = { manyRows: linked.manyRows([]), oneRow: linked.oneRow([]) };

  const { bases, layout } = placeSlots(graph, weightsBytes, arena, settings, options);
  new Int32Array(memory.buffer, batchPlaces.slotBases, bases.length).set(bases);
  const { kvMemory, close } = createKvMemory(memory, layout, bases);
  const kv = options.kvCache(layout, kvMemory);
  // All that has a place has one now: what does not fit has failed before the work begins.
  await weights.load(options);

  const pool = createPool(
    {
      memory,
      modules: linked.modules.map((module) => compileModule(module, settings.vectorBits)),
      kernels: [...linked.kernels],
      control: controlAt,
      times: timesAt,
      threads: settings.threads,
      readAhead: weights.first(READ_AHEAD_BYTES),
    },
    settings.profile,
  );

  const times = new Float64Array(memory.buffer, timesAt, timesLength);
  const profiler = createProfiler(linked.cells, times, memory);
  const columns = batchColumns(memory, compiled, options.maxRows);
  let state: 'idle' | 'running' | 'disposed' = 'idle';

  function write(batch: Batch, program: Program): void {
    columns.tokens.set(batch.tokens);
    columns.slots.set(batch.slots);
    columns.positions.set(batch.positions);
    if (batch.prompt) columns.prompt.set(batch.prompt);
    else columns.prompt.fill(0, 0, batch.tokens.length);
    columns.logitRows.set(batch.logits);
    columns.rowCount[0] = batch.tokens.length;
    columns.logitCount[0] = batch.logits.length;
    for (const counter of columns.counters) counter[0] = 0;
    for (const { name, rows } of batch.values ?? []) {
      const capture = program.captures.get(name)!;
      new Int32Array(memory.buffer, capture.rows, rows.length).set(rows);
      new Int32Array(memory.buffer, capture.count, 1)[0] = rows.length;
    }
  }

  function read(batch: Batch, program: Program): ForwardResult {
    const { vocabularySize } = graph.config;
    const values: Record<string, Float32Array> = {};
    for (const { name, rows } of batch.values ?? []) {
      const { copy } = program.captures.get(name)!;
      values[name] = readCapture(memory, copy, rows.length, infos.get(name)!.kind === 'channels');
    }
    const logitsPlace = logitsPlaces[batch.tokens.length === 1 ? 'oneRow' : 'manyRows'];
    // The logits' rows are padded to 64 bytes; vocabularies of real models need no padding, and then this is a view.
    const stride = logitsPlace.stride / 4;
    if (stride === vocabularySize || batch.logits.length <= 1) {
      return {
        logits: new Float32Array(memory.buffer, logitsPlace.pointer, batch.logits.length * vocabularySize),
        values,
      };
    }
    const padded = new Float32Array(memory.buffer, logitsPlace.pointer, batch.logits.length * stride);
    const logits = new Float32Array(batch.logits.length * vocabularySize);
    for (let row = 0; row < batch.logits.length; row++) {
      logits.set(padded.subarray(row * stride, row * stride + vocabularySize), row * vocabularySize);
    }
    return { logits, values };
  }

  return {
    kv,
    async forward(batch) {
      if (state === 'disposed') throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.');
      if (state === 'running') {
        throw new LlmoptError('LLMOPT_BUSY', 'A forward is already running on this executable.', {
          hint: 'Wait for it, or put both in one batch.',
        });
      }
      const lengths = prepareBatch(batch, graph, infos, kv, options.maxRows);
      const variant = batch.tokens.length === 1 ? 'oneRow' : 'manyRows';
      const program = batch.values?.length
        ? linked[variant]([...new Set(batch.values.map(({ name }) => name))].sort())
        : plain[variant];
      state = 'running';
      try {
        reach(Math.max(...lengths.values()));
        write(batch, program);
        const began = sharedMilliseconds();
        await pool.run(program);
        const ended = sharedMilliseconds();
        if (settings.profile) profiler.add(program, began, ended);
        for (const [slot, length] of lengths) kv.commit(slot, length);
        return read(batch, program);
      } finally {
        if (state === 'running') state = 'idle';
      }
    },
    memory: () => ({ weightsBytes, activationsBytes, kv: kvReport(kv) }),
    profile() {
      return settings.profile ? profiler.profile() : undefined;
    },
    async dispose() {
      if (state === 'disposed') return;
      state = 'disposed';
      close();
      await pool.dispose();
    },
  };
}

function batchColumns(memory: WebAssembly.Memory, { batch, rowCount, counters }: Compiled, maxRows: number) {
  const column = (at: number, length: number) => new Int32Array(memory.buffer, at, length);
  return {
    tokens: column(batch.tokens, maxRows),
    slots: column(batch.slots, maxRows),
    positions: column(batch.positions, maxRows),
    prompt: column(batch.prompt, maxRows),
    logitRows: column(batch.logitRows, maxRows),
    rowCount: column(rowCount, 1),
    logitCount: column(batch.logitCount, 1),
    counters: counters.map((at) => column(at, 1)),
  };
}

function readCapture(
  memory: WebAssembly.Memory,
  place: { pointer: number; stride: number; width: number },
  rows: number,
  channels: boolean,
) {
  const out = new Float32Array(rows * place.width);
  for (let row = 0; row < rows; row++) {
    const at = place.pointer + row * place.stride;
    if (channels) {
      const [count] = new Int32Array(memory.buffer, at, 1);
      for (const channel of new Int32Array(memory.buffer, at + 4, count)) out[row * place.width + channel] = 1;
    } else out.set(new Float32Array(memory.buffer, at, place.width), row * place.width);
  }
  return out;
}
