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
    runner = await createRunner(device, graph, infos, program, weights.operands, cache, options);
    // Compiles every kernel, so that the first request does not wait, and one that does not compile is known now.
    const row = Int32Array.of(0);
    await guarded(device, runner.run({ tokens: row, slots: row, positions: row, logitRows: row }, []));
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
      const result = guarded(device, run(rowsOf(batch), batch.values));
      running = result;
      try {
        const values = await result;
        for (const [slot, length] of lengths) kv.commit(slot, length);
        return values;
      } catch (error) {
        if (device.failure() && state === 'idle') state = error as LlmoptError;
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
    logitRows: Int32Array.from(batch.logits),
  };
}

/** Turns what a device says or throws into errors of this project. */
async function guarded<T>(device: Device, work: Promise<T>): Promise<T> {
  let thrown: unknown;
  try {
    const result = await work;
    if (!device.failure()) return result;
  } catch (error) {
    thrown = error;
  }
  const failure = device.failure();
  if (!failure && LlmoptError.isInstance(thrown)) throw thrown;
  const outOfMemory = failure?.kind === 'outOfMemory';
  const message = failure?.message ?? (thrown instanceof Error ? thrown.message : String(thrown));
  throw new LlmoptError(
    outOfMemory ? 'LLMOPT_OUT_OF_MEMORY' : 'LLMOPT_GPU_FAILED',
    failure?.kind === 'lost' ? `The GPU was lost: ${message}` : `The GPU failed: ${message}`,
    {
      where: { mode: device.mode, device: device.name },
      hint: failure ? 'Dispose of this pipeline and create a new one.' : undefined,
      cause: thrown,
    },
  );
}
