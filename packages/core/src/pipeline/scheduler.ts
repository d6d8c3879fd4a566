import type { Batch, Executable, ForwardResult } from '../backends/backend.ts';
import { LlmoptError } from '../errors.ts';
import type { Driver } from '../plugin/driver.ts';
import type { Sequence } from '../plugin/plugin.ts';

/** A request in the scheduler's hands. */
export interface Job {
  readonly prompt: readonly number[];
  readonly signal: AbortSignal | undefined;
  /** Chooses the next token from a row of logits, which hold only during the call. */
  choose(logits: Float32Array, sequence: Sequence): Choice;
}

export interface Choice {
  /** The token to add; undefined for an end token, which is no part of the text. */
  token: number | undefined;
  /** Whether the sequence ends here. */
  last: boolean;
}

/** Why a job ended: its own choice, or the end of its slot. */
export type JobEnd = 'chosen' | 'contextFull';

export interface Scheduler {
  run(job: Job): Promise<JobEnd>;
  /** One forward between steps; the result is a copy. */
  forward(batch: Batch): Promise<ForwardResult>;
  /** Ends all jobs with LLMOPT_DISPOSED. */
  dispose(): void;
}

interface Running extends Job {
  readonly tokens: number[];
  readonly sequence: Sequence;
  /** Tokens that have gone through the model. */
  fed: number;
  slot: number | undefined;
  resolve(end: JobEnd): void;
  reject(error: unknown): void;
}

/**
 * Runs all sequences together: each step is one batch with the next token of every running sequence, and chunks of the prompts
 * that wait, first come first served. What a sequence says does not depend on the others (a row's logits do not).
 */
export function createScheduler(executable: Executable, driver: Driver, maxRows: number): Scheduler {
  const jobs: Running[] = [];
  const direct: (() => Promise<void>)[] = [];
  const onLogits = driver.inPlace('logits');
  const onToken = driver.inPlace('token');
  const columns = batchColumns(maxRows);
  let looping = false;
  let nextId = 0;
  let disposed = false;

  async function loop(): Promise<void> {
    if (looping) return;
    looping = true;
    try {
      while (jobs.length > 0 || direct.length > 0) {
        for (let forward = direct.shift(); forward; forward = direct.shift()) await forward();
        dropAborted();
        if (jobs.length > 0) await step();
      }
    } finally {
      looping = false;
    }
  }

  async function step(): Promise<void> {
    const ready = plan();
    if (ready === undefined) {
      // Every slot is in the hands of direct callers: wait until one comes back.
      await new Promise((resolve) => setTimeout(resolve, 1));
      return;
    }
    const began = performance.now();
    let result: ForwardResult;
    try {
      result = await executable.forward(columns.batch());
    } catch (error) {
      for (const { job } of ready) end(job, error);
      return;
    }
    driver.observe('step', { rows: columns.rows(), milliseconds: performance.now() - began });
    const width = result.logits.length / Math.max(1, columns.logitCount());
    for (const { job, rows, logitRow } of ready) {
      job.fed += rows;
      if (logitRow === undefined) continue;
      advance(job, result.logits.subarray(logitRow * width, (logitRow + 1) * width));
    }
  }

  function advance(job: Running, logits: Float32Array): void {
    try {
      if (job.tokens.length === job.prompt.length) driver.observe('prefillEnd', job.sequence);
      onLogits?.(logits, job.sequence);
      const { token, last } = job.choose(logits, job.sequence);
      if (token !== undefined) {
        job.tokens.push(token);
        onToken?.(token, job.sequence);
      }
      if (last) end(job, undefined, 'chosen');
      else if (job.tokens.length > executable.kv.layout.capacity) end(job, undefined, 'contextFull');
    } catch (error) {
      end(job, error);
    }
  }

  /** Fills the batch: decode rows first, then prompts in the order they came. */
  function plan() {
    columns.clear();
    const ready: { job: Running; rows: number; logitRow: number | undefined }[] = [];
    const byNeed = [...jobs].sort((a, b) => Number(a.fed < a.prompt.length) - Number(b.fed < b.prompt.length));
    for (const job of byNeed) {
      const room = maxRows - columns.rows();
      if (room === 0) break;
      job.slot ??= executable.kv.acquire();
      if (job.slot === undefined) continue;
      const rows = Math.min(room, job.tokens.length - job.fed);
      const last = job.fed + rows === job.tokens.length;
      for (let i = 0; i < rows; i++)
        columns.add(job.tokens[job.fed + i]!, job.slot, job.fed + i, job.fed + i < job.prompt.length);
      ready.push({ job, rows, logitRow: last ? columns.wantLogits() : undefined });
    }
    return ready.length > 0 ? ready : undefined;
  }

  function dropAborted(): void {
    for (const job of [...jobs]) {
      if (job.signal?.aborted)
        end(job, new LlmoptError('LLMOPT_ABORTED', 'The call was aborted.', { cause: job.signal.reason }));
    }
  }

  function end(job: Running, error: unknown, how: JobEnd = 'chosen'): void {
    const at = jobs.indexOf(job);
    if (at < 0) return;
    jobs.splice(at, 1);
    if (job.slot !== undefined) executable.kv.release(job.slot);
    driver.observe('sequenceEnd', job.sequence);
    if (error === undefined) job.resolve(how);
    else job.reject(error);
  }

  const refuseDisposed = () => {
    if (disposed) throw new LlmoptError('LLMOPT_DISPOSED', 'This pipeline was disposed.');
  };

  return {
    async run(job) {
      refuseDisposed();
      return new Promise<JobEnd>((resolve, reject) => {
        const tokens = [...job.prompt];
        const sequence: Sequence = { id: nextId++, tokens, promptLength: job.prompt.length };
        jobs.push({ ...job, tokens, sequence, fed: 0, slot: undefined, resolve, reject });
        driver.observe('sequenceStart', sequence);
        void loop();
      });
    },
    async forward(batch) {
      refuseDisposed();
      return new Promise<ForwardResult>((resolve, reject) => {
        direct.push(async () => {
          try {
            const { logits, values } = await executable.forward(batch);
            resolve({ logits: logits.slice(), values });
          } catch (error) {
            reject(error);
          }
        });
        void loop();
      });
    },
    dispose() {
      disposed = true;
      for (const job of [...jobs])
        end(job, new LlmoptError('LLMOPT_DISPOSED', 'The pipeline was disposed while this request ran.'));
    },
  };
}

/** One batch that is filled again for every step; nothing is allocated but views, and each of those once. */
function batchColumns(maxRows: number) {
  const make = () => {
    const column = new Int32Array(maxRows);
    const views: Int32Array[] = [];
    return { column, view: (length: number) => (views[length] ??= column.subarray(0, length)) };
  };
  const tokens = make();
  const slots = make();
  const positions = make();
  const prompt = make();
  const logits = make();
  let rows = 0;
  let wanted = 0;
  return {
    rows: () => rows,
    logitCount: () => wanted,
    clear() {
      rows = 0;
      wanted = 0;
    },
    add(token: number, slot: number, position: number, inPrompt: boolean) {
      tokens.column[rows] = token;
      slots.column[rows] = slot;
      positions.column[rows] = position;
      prompt.column[rows] = inPrompt ? 1 : 0;
      rows++;
    },
    /** The row added last wants logits; returns the number of its row of logits. */
    wantLogits() {
      logits.column[wanted] = rows - 1;
      return wanted++;
    },
    batch: (): Batch => ({
      tokens: tokens.view(rows),
      slots: slots.view(rows),
      positions: positions.view(rows),
      prompt: prompt.view(rows),
      logits: logits.view(wanted),
    }),
  };
}
