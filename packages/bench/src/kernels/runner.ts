import { type Batch, contiguousKvCache, type Executable, type Graph, type Profile, wasm } from '@llmopt/core';
import { peakResidentBytes } from '../memory.ts';
import { subtractProfile } from '../profile.ts';
import { median } from '../statistics/summary.ts';
import type { Subject, SubjectControl } from './subject.ts';

/** Rows per forward while a prompt is read, as a pipeline has them. */
const chunkRows = 128;

export interface RunnerOptions extends SubjectControl {
  subject: Subject;
  /** The subject's graph, or what a plugin made of it. */
  graph: Graph;
  threads: number | undefined;
  /** Tokens in the cache while decoding. */
  prompt: number;
  /** Streams that can decode at once; fewer, down to `leastSlots`, where memory has no room for all. */
  slots: number;
  /** Default: `slots`. */
  leastSlots?: number;
  /** Tokens of a measured prefill. */
  prefillTokens: number;
  profile?: boolean;
}

/** What loading took. */
export interface LoadFigures {
  seconds: number;
  /** Whether weights were packed, which takes most of the time, or came from the cache. */
  packed: boolean;
  /** The largest resident set of the process until then. */
  peakBytes: number;
}

/** A compiled model with the prompt in every slot, ready to be timed. Between calls it is always in that state. */
export interface Runner {
  readonly threads: number;
  readonly slots: number;
  readonly weightsBytes: number;
  readonly load: LoadFigures;
  /** Milliseconds of a step of `rows` streams, one token each: the median of `steps`, behind one that does not count. */
  decode(rows: number, steps: number): Promise<number>;
  /** Milliseconds in which the prefill is read from an empty cache. */
  prefill(): Promise<number>;
  /** What the kernels did while `work` ran. Only of a runner with `profile`. */
  profileOf(work: () => Promise<unknown>): Promise<Profile>;
  dispose(): Promise<void>;
}

/** Compiles a graph and reads the prompt. @throws LLMOPT_ABORTED and what `compile` and `forward` throw */
export async function openRunner(options: RunnerOptions): Promise<Runner> {
  const { subject, graph, prompt, prefillTokens, signal, profile = false } = options;
  const { tokens } = subject;
  const backend = wasm({ threads: options.threads, profile });
  const began = performance.now();
  let packed = false;
  const executable: Executable = await backend.compile(graph, {
    slots: options.slots,
    leastSlots: options.leastSlots,
    contextLength: Math.max(prompt + 1, prefillTokens),
    maxRows: chunkRows,
    kvCache: contiguousKvCache,
    modelKey: subject.modelKey,
    cacheDir: subject.cacheDir,
    onProgress(progress) {
      packed ||= progress.stage === 'pack';
      options.onProgress?.(progress);
    },
    signal,
  });
  const load = { seconds: (performance.now() - began) / 1000, packed, peakBytes: await peakResidentBytes() };
  const { kv } = executable;
  const { slots: slotCount } = kv.layout;
  const slots = Array.from({ length: slotCount }, () => kv.acquire() as number);

  const forward = async (batch: Batch): Promise<number> => {
    signal?.throwIfAborted();
    const began = performance.now();
    await executable.forward(batch);
    return performance.now() - began;
  };
  const read = async (slot: number, count: number): Promise<number> => {
    kv.truncate(slot, 0);
    let milliseconds = 0;
    for (let from = 0; from < count; from += chunkRows) {
      const length = Math.min(chunkRows, count - from);
      const positions = Array.from({ length }, (_, row) => from + row);
      milliseconds += await forward({
        tokens: positions.map((position) => tokens[position] as number),
        slots: positions.map(() => slot),
        positions,
        logits: from + length === count ? [length - 1] : [],
      });
    }
    return milliseconds;
  };
  let next = prompt;
  const step = async (rows: number): Promise<number> => {
    const used = slots.slice(0, rows);
    const milliseconds = await forward({
      tokens: used.map(() => tokens[next++ % tokens.length] as number),
      slots: used,
      positions: used.map(() => prompt),
      logits: used.map((_, row) => row),
    });
    for (const slot of used) kv.truncate(slot, prompt);
    return milliseconds;
  };

  const runner: Runner = {
    threads: Number(backend.settings.threads),
    slots: slotCount,
    load,
    weightsBytes: executable.memory().weightsBytes,
    async decode(rows, steps) {
      // The first one after another model's turn finds the caches full of that.
      await step(rows);
      const times: number[] = [];
      for (let count = 0; count < steps; count++) times.push(await step(rows));
      return median(times);
    },
    async prefill() {
      const slot = slots[0] as number;
      const milliseconds = await read(slot, prefillTokens);
      if (prefillTokens >= prompt) kv.truncate(slot, prompt);
      else await read(slot, prompt);
      return milliseconds;
    },
    async profileOf(work) {
      const before = executable.profile();
      await work();
      return subtractProfile(executable.profile(), before) as Profile;
    },
    dispose: () => executable.dispose(),
  };
  try {
    for (const slot of slots) await read(slot, prompt);
    return runner;
  } catch (error) {
    await executable.dispose();
    throw error;
  }
}
