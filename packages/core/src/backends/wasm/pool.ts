import { Worker } from 'node:worker_threads';
import { LlmoptError } from '../../errors.ts';
import { control, type WorkerData } from './control.ts';
import type { Program } from './program.ts';

/** Worker threads that run programs over one shared memory. They start with the first run: until then they take no memory. */
export interface Pool {
  /** Run a program; resolves when every thread is through. @throws LLMOPT_WORKER_DIED, now and from then on */
  run(program: Program): Promise<void>;
  /** Waits for the program that runs. */
  dispose(): Promise<void>;
}

// From source (tests) the worker is TypeScript, which Node runs as it is; built, it lies beside the bundle.
const workerUrl = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url);

// Far more than a worker needs. With less than 2 GB V8 maps no copy of its built-in code, 2 MB, for each worker.
const resourceLimits = { maxOldGenerationSizeMb: 256 };

export function createPool(data: Omit<WorkerData, 'thread'>, timing: boolean): Pool {
  const state = new Int32Array(data.memory.buffer, data.control, control.bytes / 4);
  state[control.timing] = timing ? 1 : 0;
  let disposed = false;
  let failure: LlmoptError | undefined;
  let onFailure: (error: LlmoptError) => void = () => {};
  let workers: readonly Worker[] = [];
  let started: Promise<void> | undefined;
  let running: Promise<void> | undefined;

  const fail = (reason: string, cause?: unknown) => {
    if (disposed || failure) return;
    failure = new LlmoptError('LLMOPT_WORKER_DIED', `A worker thread of the wasm backend ended: ${reason}.`, {
      hint: 'Dispose this pipeline and create it again.',
      cause,
    });
    for (const worker of workers) void worker.terminate();
    onFailure(failure);
  };
  const failed = () =>
    new Promise<never>((_, reject) => {
      onFailure = reject;
      if (failure) reject(failure);
    });
  async function start(): Promise<void> {
    workers = Array.from(
      { length: data.threads },
      (_, thread) =>
        new Worker(workerUrl, {
          workerData: { ...data, thread } satisfies WorkerData,
          name: `llmopt-${thread}`,
          // Not what the process was started with: of that, --input-type would make them fail, and what --import loads is not for them.
          execArgv: [],
          resourceLimits,
        }),
    );
    for (const worker of workers) {
      worker.on('error', (error) => fail(error instanceof Error ? error.message : String(error), error));
      worker.on('exit', (code) => fail(`exit code ${code}`));
    }
    await Promise.race([
      Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('online', resolve)))),
      failed(),
    ]);
    // Idle workers keep no process alive; a running step does.
    for (const worker of workers) worker.unref();
  }

  async function runOnce({ address, stride, calls }: Program): Promise<void> {
    if (failure) throw failure;
    started ??= start();
    await started;
    state[control.program] = address;
    state[control.stride] = stride;
    state[control.calls] = calls;
    const before = Atomics.load(state, control.done);
    workers[0]!.ref();
    try {
      Atomics.store(state, control.start, before + 1);
      Atomics.notify(state, control.start);
      const waiting = Atomics.waitAsync(state, control.done, before);
      if (waiting.async) await Promise.race([waiting.value, failed()]);
    } finally {
      workers[0]!.unref();
    }
  }

  return {
    run(program) {
      running = runOnce(program);
      return running;
    },
    async dispose() {
      await running?.catch(() => {});
      disposed = true;
      Atomics.store(state, control.stop, 1);
      Atomics.add(state, control.start, 1);
      Atomics.notify(state, control.start);
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
