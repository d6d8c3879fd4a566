import type { Batch, Executable, ForwardResult } from '../backends/backend.ts';
import { LlmoptError } from '../errors.ts';
import type { Driver } from '../plugin/driver.ts';
import type { Sequence } from '../plugin/plugin.ts';
import { batchColumns } from './batchColumns.ts';

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
  /** Counts since the start: sequences that lost their slot and were computed again, and tokens of prompts that a slot already held. */
  metrics(): Readonly<Record<'scheduler.preemptions' | 'scheduler.reusedTokens', number>>;
  /** Ends all jobs with LLMOPT_DISPOSED. */
  dispose(): void;
}

interface Running extends Job {
  readonly tokens: number[];
  readonly sequence: Sequence;
  /** Tokens whose keys and values are in the slot. */
  fed: number;
  /** Number of the step that last had rows of it. */
  lastStep: number;
  slot: number | undefined;
  resolve(end: JobEnd): void;
  reject(error: unknown): void;
}

interface Share {
  job: Running;
  rows: number;
  /** Number of its row of logits. */
  logitRow: number | undefined;
}

// Rows of a step in which some sequences answer: as many of prompts as of answers make it twice as long at most. So few rows are always
// allowed, since they take no longer than a reader.
const FEW_ROWS = 12;
const IDLE_MS = 10;

/**
 * Runs all sequences together: each step is one batch with the next token of every sequence that answers, and chunks of the prompts
 * that wait, first come first served; small ones while others answer, so that these go on. Where the cache has no room, the sequence that came last
 * loses its slot and is computed again later. What a sequence says does not depend on any of this (a row's logits do not).
 */
export function createScheduler(executable: Executable, driver: Driver, maxRows: number): Scheduler {
  const jobs: Running[] = [];
  const direct: (() => Promise<void>)[] = [];
  const onLogits = driver.inPlace('logits');
  const onToken = driver.inPlace('token');
  const columns = batchColumns(maxRows);
  const { kv } = executable;
  let looping = false;
  let idling = false;
  let recycling: Promise<void> | undefined;
  /** A sequence had to give way: until another one ends, none gets a slot. */
  let full = false;
  let steps = 0;
  let preemptions = 0;
  let reusedTokens = 0;
  let nextId = 0;
  let disposed = false;

  async function loop(): Promise<void> {
    if (looping) return;
    looping = true;
    try {
      while (jobs.length > 0 || direct.length > 0) {
        // What a recycling did wrong, each forward says.
        await recycling?.catch(() => {});
        for (let forward = direct.shift(); forward; forward = direct.shift()) await forward();
        dropAborted();
        if (jobs.length > 0) await step();
      }
    } finally {
      looping = false;
      rest();
    }
  }

  /** Lets the cache work between calls. */
  function rest(): void {
    if (idling || !kv.idle) return;
    idling = true;
    const again = () => {
      idling = false;
      if (disposed || looping) return;
      if (kv.idle!()) rest();
      else if (kv.recycleDue?.()) recycle();
    };
    setTimeout(again, IDLE_MS).unref();
  }

  function recycle(): void {
    for (let slot = 0; slot < kv.layout.slots; slot++) if (kv.isAcquired(slot)) return;
    recycling = executable.recycle?.();
  }

  async function step(): Promise<void> {
    const ready = plan();
    if (ready === undefined) {
      // Every slot is in the hands of direct callers: wait until one comes back.
      await new Promise((resolve) => setTimeout(resolve, 1));
      return;
    }
    steps++;
    const began = performance.now();
    let result: ForwardResult;
    try {
      const computed = executable.forward(columns.batch());
      try {
        // The threads compute now, and this one would wait.
        kv.idle?.();
      } finally {
        // Whatever the cache did wrong, nobody's slot is given back while it is written to.
        result = await computed;
      }
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
      else if (job.tokens.length > kv.layout.capacity) end(job, undefined, 'contextFull');
    } catch (error) {
      end(job, error);
    }
  }

  /** Fills the batch with all that there is room for, and makes that room. */
  function plan(): Share[] | undefined {
    for (;;) {
      const ready = share();
      if (ready.length === 0) return undefined;
      try {
        kv.reserve(new Map(ready.map(({ job, rows }) => [job.slot!, job.fed + rows])));
        return ready;
      } catch (error) {
        if (!preempt(error)) end(ready.at(-1)!.job, error);
      }
    }
  }

  /** Takes the slot of the sequence that came last, if another one can go on. */
  function preempt(error: unknown): boolean {
    const holders = jobs.filter(({ slot }) => slot !== undefined);
    if (!LlmoptError.isInstance(error) || error.code !== 'LLMOPT_KV_BUDGET' || holders.length < 2) return false;
    const victim = holders.at(-1)!;
    kv.release(victim.slot!);
    victim.slot = undefined;
    victim.fed = 0;
    full = true;
    preemptions++;
    return true;
  }

  /** Fills the batch: sequences that answer, those first that have waited longest; then prompts in the order they came. */
  function share(): Share[] {
    columns.clear();
    const ready: Share[] = [];
    const answering = jobs
      .filter((job) => job.slot !== undefined && job.tokens.length - job.fed === 1 && job.fed >= job.prompt.length)
      .sort((a, b) => a.lastStep - b.lastStep);
    for (const job of answering) {
      if (columns.rows() === maxRows) return ready;
      ready.push(addRows(job, 1));
    }
    const limit = ready.length > 0 ? Math.min(maxRows, Math.max(FEW_ROWS, 2 * ready.length)) : maxRows;
    const those = new Set(answering);
    for (const job of [...jobs]) {
      if (columns.rows() >= limit) break;
      if (those.has(job)) continue;
      // Nobody overtakes a sequence that waits for a slot.
      if (!seat(job)) break;
      if (job.slot === undefined) continue;
      ready.push(addRows(job, Math.min(limit - columns.rows(), job.tokens.length - job.fed)));
    }
    return ready;
  }

  /** Finds the job a slot; false when it must wait. A job for which there can be none has ended. */
  function seat(job: Running): boolean {
    if (job.slot !== undefined) return true;
    if (full) return false;
    try {
      job.slot = kv.acquire(job.sequence);
    } catch (error) {
      end(job, error);
      return true;
    }
    if (job.slot === undefined) return false;
    job.fed = kv.length(job.slot);
    reusedTokens += job.fed;
    return true;
  }

  function addRows(job: Running, rows: number): Share {
    const { tokens, fed, prompt } = job;
    for (let at = fed; at < fed + rows; at++) columns.add(tokens[at]!, job.slot!, at, at < prompt.length);
    job.lastStep = steps;
    const complete = fed + rows === tokens.length;
    return { job, rows, logitRow: complete ? columns.wantLogits() : undefined };
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
    full = false;
    if (job.slot !== undefined) kv.release(job.slot);
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
        jobs.push({ ...job, tokens, sequence, fed: 0, lastStep: 0, slot: undefined, resolve, reject });
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
    metrics: () => ({ 'scheduler.preemptions': preemptions, 'scheduler.reusedTokens': reusedTokens }),
    dispose() {
      disposed = true;
      for (const job of [...jobs])
        end(job, new LlmoptError('LLMOPT_DISPOSED', 'The pipeline was disposed while this request ran.'));
    },
  };
}
