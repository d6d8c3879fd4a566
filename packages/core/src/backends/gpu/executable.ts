import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { Batch, CompileOptions, Executable } from '../backend.ts';
import { prepareBatch } from '../batch.ts';
import type { BatchRows } from '../reference/context.ts';
import type { Device } from './device/device.ts';
import { createKvStore } from './kvStore.ts';
import { compileProgram } from './program.ts';
import { createRunner, type Runner } from './runner.ts';
import { loadWeights, type Weights } from './weights.ts';

/** Compiles for a device, which the executable owns from here on. */
export async function compileGpu(graph: Graph, device: Device, options: CompileOptions): Promise<Executable> {
  const infos = checkGraph(graph);
  const program = compileProgram(graph, infos, options.contextLength);
  const { layers, kvHeads, headDim } = graph.config;
  const { slots, contextLength: capacity } = options;
  const kv = options.kvCache({ layers, kvHeads, headDim, slots, capacity, elementType: 'float32' });
  const cache = createKvStore(device, graph.config, capacity);
  let weights: Weights | undefined;
  let runner: Runner | undefined;
  const release = async () => {
    runner?.dispose();
    cache.dispose();
    weights?.dispose();
    await device.dispose();
  };
  try {
    weights = await loadWeights(device, graph, program.params, options);
    const ready = await createRunner(device, graph, infos, program, weights.operands, cache, options);
    runner = ready;
    // Compiles every kernel, so that the first request does not wait, and one that does not compile is known now.
    const row = Int32Array.of(0);
    await guarded(device, () =>
      ready.run({ tokens: row, slots: row, positions: row, prompt: row, logitRows: row }, []),
    );
  } catch (error) {
    await release();
    throw error;
  }
  const { run, activationsBytes } = runner;
  const { byteLength: weightsBytes } = weights;

  let state: 'idle' | 'disposed' | LlmoptError = 'idle';
  let running: Promise<unknown> | undefined;
  return {
    kv,
    async forward(batch) {
      if (state === 'disposed') throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed.');
      if (state !== 'idle') throw state;
      if (running) {
        throw new LlmoptError('LLMOPT_BUSY', 'A forward is already running on this executable.', {
          hint: 'Wait for it, or put both in one batch.',
        });
      }
      const lengths = prepareBatch(batch, graph, infos, kv, options.maxRows);
      const result = guarded(device, () => run(rowsOf(batch), batch.values));
      running = result;
      try {
        const values = await result;
        for (const [slot, length] of lengths) kv.commit(slot, length);
        return values;
      } catch (error) {
        if (state === 'idle' && isFatal(error)) state = error;
        throw error;
      } finally {
        running = undefined;
      }
    },
    memory() {
      const { byteLength } = cache;
      return {
        weightsBytes,
        activationsBytes: activationsBytes(),
        kv: { reservedBytes: byteLength, committedBytes: byteLength, liveBytes: kv.bytes().live },
      };
    },
    profile: () => undefined,
    async dispose() {
      if (state === 'disposed') return;
      state = 'disposed';
      const ended = running?.catch(() => {});
      runner.dispose();
      await ended;
      await release();
    },
  };
}

function rowsOf(batch: Batch): BatchRows {
  return {
    tokens: Int32Array.from(batch.tokens),
    slots: Int32Array.from(batch.slots),
    positions: Int32Array.from(batch.positions),
    prompt: batch.prompt ? Int32Array.from(batch.prompt) : new Int32Array(batch.tokens.length),
    logitRows: Int32Array.from(batch.logits),
  };
}

/** Runs something on the device, and turns what the device says or throws into errors of this project. */
async function guarded<T>(device: Device, run: () => Promise<T>): Promise<T> {
  const failed = device.watch();
  let outcome: { value: T } | { thrown: unknown };
  try {
    outcome = { value: await run() };
  } catch (thrown) {
    outcome = { thrown };
  }
  const failure = failed();
  if (!failure && 'value' in outcome) return outcome.value;
  const thrown = 'thrown' in outcome ? outcome.thrown : undefined;
  if (!failure && LlmoptError.isInstance(thrown)) throw thrown;
  const message = failure?.message ?? (thrown instanceof Error ? thrown.message : String(thrown));
  throw new LlmoptError(
    failure?.kind === 'outOfMemory' ? 'LLMOPT_OUT_OF_MEMORY' : 'LLMOPT_GPU_FAILED',
    failure?.kind === 'lost' ? `The GPU was lost: ${message}` : `The GPU failed: ${message}`,
    {
      where: { mode: device.mode, device: device.name },
      hint: 'Dispose of this pipeline and create a new one.',
      cause: thrown,
    },
  );
}

/** Whether `guarded` made the error: after one of the device its buffers may hold anything. */
function isFatal(error: unknown): error is LlmoptError {
  return LlmoptError.isInstance(error) && error.where.device !== undefined;
}
