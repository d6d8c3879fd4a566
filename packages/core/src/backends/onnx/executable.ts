import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Tensor } from 'onnxruntime-node';
import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Batch, CompileOptions, Executable, ForwardResult } from '../backend.ts';
import { prepareBatch } from '../batch.ts';
import { cacheOnnx } from './files.ts';
import { attentionLayers } from './model.ts';
import { inputNames, logitsName, valueName } from './names.ts';
import { checkProviders, loadRuntime, openSession, type Runtime, type Session } from './runtime.ts';
import { bytesOf, type Sequence, sequences } from './sequence.ts';

export interface OnnxSettings {
  readonly executionProviders: readonly string[];
  readonly threads: number;
  readonly prepack: boolean;
  readonly values: boolean;
}

export async function compileOnnx(graph: Graph, settings: OnnxSettings, options: CompileOptions): Promise<Executable> {
  const infos = checkGraph(graph);
  const runtime = await loadRuntime();
  checkProviders(runtime, settings.executionProviders);
  const { session, weightsBytes, cleanUp } = await load(graph, runtime, settings, options);
  const { layers, kvHeads, headDim } = graph.config;
  const kv = options.kvCache({
    layers,
    kvHeads,
    headDim,
    slots: options.slots,
    capacity: options.contextLength,
    elementType: 'float32',
  });
  const cache = sequences(runtime, attentionLayers(graph));
  const marksPrompts = session.inputNames.includes(inputNames.promptRows);
  const bySlot = new Map<number, Sequence>();
  let running: Promise<ForwardResult> | undefined;
  let disposed = false;

  /** The slot's keys and values, cut where the cache was; what free slots held is dropped. */
  function sequenceOf(slot: number): Sequence {
    const sequence = bySlot.get(slot) ?? cache.empty;
    const length = kv.length(slot);
    if (length === 0) return cache.empty;
    return length < sequence.length ? cache.truncate(sequence, length) : sequence;
  }

  async function runSlot(rows: readonly number[], batch: Batch): Promise<SlotRun> {
    const slot = batch.slots[rows[0]!]!;
    const before = sequenceOf(slot);
    const local = new Map(rows.map((row, at) => [row, at]));
    const isLocal = (row: number) => local.has(row);
    const logitsAt = indicesWhere(batch.logits, isLocal);
    const wanted = (batch.values ?? []).map(({ name }) => name);
    const int64 = (values: readonly number[], dims: number[]) =>
      new runtime.Tensor('int64', BigInt64Array.from(values, BigInt), dims);
    const length = before.length + rows.length;
    const outputs = await run(
      session,
      {
        ...before.past,
        [inputNames.tokens]: int64(
          rows.map((row) => batch.tokens[row]!),
          [1, rows.length],
        ),
        [inputNames.mask]: int64(new Array<number>(length).fill(1), [1, length]),
        [inputNames.positions]: int64(
          rows.map((row) => batch.positions[row]!),
          [1, rows.length],
        ),
        [inputNames.logitRows]: int64(
          logitsAt.map((at) => local.get(batch.logits[at]!)!),
          [logitsAt.length],
        ),
        ...(marksPrompts && { [inputNames.promptRows]: promptRows(rows, batch) }),
      },
      [logitsName, ...cache.outputs, ...wanted.map(valueName)],
    );
    return { slot, rows, logitsAt, outputs, sequence: cache.of(length, outputs) };
  }

  function promptRows(rows: readonly number[], { prompt }: Batch): Tensor {
    const marks = Float32Array.from(rows, (row) => prompt?.[row] ?? 0);
    return new runtime.Tensor('float32', marks, [rows.length, 1]);
  }

  async function forwardAll(batch: Batch): Promise<ForwardResult> {
    if (batch.values?.length && !settings.values) {
      throw new LlmoptError('LLMOPT_BATCH_INVALID', 'This onnx backend gives no values of the graph but the logits.', {
        hint: 'Make it with onnx({ values: true }).',
      });
    }
    const lengths = prepareBatch(batch, graph, infos, kv, options.maxRows);
    for (const slot of bySlot.keys()) if (!kv.isAcquired(slot)) bySlot.delete(slot);
    const runs: SlotRun[] = [];
    for (const slot of lengths.keys())
      runs.push(
        await runSlot(
          indicesWhere(batch.slots, (other) => other === slot),
          batch,
        ),
      );
    for (const { slot, sequence } of runs) {
      bySlot.set(slot, sequence);
      kv.commit(slot, sequence.length);
    }
    return {
      logits: gather(
        runs.map(({ logitsAt, outputs }) => [logitsAt, outputs[logitsName]!]),
        graph.config.vocabularySize,
      ),
      values: Object.fromEntries(
        (batch.values ?? []).map(({ name, rows }) => {
          const { width, rows: kind } = infos.get(name)!;
          const all = gather(
            runs.map((run) => [kind === 'batch' ? run.rows : run.logitsAt, run.outputs[valueName(name)]!]),
            width,
          );
          const out = new Float32Array(rows.length * width);
          Array.from(rows).forEach((row, at) => {
            out.set(all.subarray(row * width, (row + 1) * width), at * width);
          });
          return [name, out];
        }),
      ),
    };
  }

  return {
    kv,
    async forward(batch) {
      if (disposed) throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.');
      if (running) {
        throw new LlmoptError('LLMOPT_BUSY', 'A forward is already running on this executable.', {
          hint: 'Wait for it, or put both in one batch.',
        });
      }
      running = forwardAll(batch);
      try {
        return await running;
      } finally {
        running = undefined;
      }
    },
    memory() {
      const heldBytes = [...bySlot.values()].reduce((sum, sequence) => sum + bytesOf(sequence), 0);
      return {
        weightsBytes,
        activationsBytes: 0,
        kv: { reservedBytes: heldBytes, committedBytes: heldBytes, liveBytes: kv.bytes().live },
      };
    },
    profile: () => undefined,
    async dispose() {
      if (disposed) return;
      disposed = true;
      await running?.catch(() => undefined);
      bySlot.clear();
      await session.release();
      await cleanUp();
    },
  };
}

/** What came out for the rows of one slot. */
interface SlotRun {
  readonly slot: number;
  /** Its rows in the batch. */
  readonly rows: readonly number[];
  /** Which of the batch's rows of logits are its own. */
  readonly logitsAt: readonly number[];
  readonly outputs: Readonly<Record<string, Tensor>>;
  readonly sequence: Sequence;
}

async function load(graph: Graph, runtime: Runtime, settings: OnnxSettings, options: CompileOptions) {
  const { cacheDir, contextLength, modelKey, onProgress, signal } = options;
  const folder = cacheDir ?? (await mkdtemp(path.join(tmpdir(), 'llmopt-onnx-')));
  const cleanUp = async () => {
    // While a file is mapped, Windows does not remove it.
    if (cacheDir === undefined) await rm(folder, { recursive: true, force: true }).catch(() => undefined);
  };
  const values = settings.values ? [...checkGraph(graph).keys()] : [];
  try {
    const { path: modelPath, weightsBytes } = await cacheOnnx(
      graph,
      folder,
      modelKey,
      { contextLength, selectRows: true, values },
      { onProgress, signal },
    );
    onProgress?.({ stage: 'load', fraction: 0 });
    const session = await openSession(runtime, modelPath, settings);
    onProgress?.({ stage: 'load', fraction: 1 });
    return { session, weightsBytes, cleanUp };
  } finally {
    await cleanUp();
  }
}

async function run(session: Session, feeds: Record<string, Tensor>, outputs: readonly string[]) {
  try {
    return (await session.run(feeds, outputs)) as Record<string, Tensor>;
  } catch (cause) {
    throw new LlmoptError(
      'LLMOPT_ENGINE_FAILED',
      `onnxruntime-node failed to run the model: ${(cause as Error).message.trim()}.`,
      {
        cause,
      },
    );
  }
}

function indicesWhere(values: ArrayLike<number>, test: (value: number) => boolean): number[] {
  const indices: number[] = [];
  for (let i = 0; i < values.length; i++) if (test(values[i]!)) indices.push(i);
  return indices;
}

/** Rows of the slots' tensors, put where they belong in the batch. */
function gather(parts: readonly (readonly [rows: readonly number[], tensor: Tensor])[], width: number): Float32Array {
  if (parts.length === 1) return parts[0]![1].data as Float32Array;
  const out = new Float32Array(parts.reduce((sum, [rows]) => sum + rows.length, 0) * width);
  for (const [rows, { data }] of parts) {
    rows.forEach((row, at) => {
      out.set((data as Float32Array).subarray(at * width, (at + 1) * width), row * width);
    });
  }
  return out;
}
