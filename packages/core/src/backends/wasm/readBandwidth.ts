import { LlmoptError } from '../../errors.ts';
import { createArena } from './arena.ts';
import { sharedMilliseconds } from './control.ts';
import type { VectorBits } from './kernelModules.ts';
import { workerKernels } from './kernelRunner.ts';
import { resolveThreads, resolveVectorBits } from './settings.ts';

export interface ReadBandwidthOptions {
  /** Threads that read, each a share of its own. Default: one per core, as the backend. */
  threads?: number;
  /** Bytes that each round reads; the rest behind a multiple of 64 is left out. Default 512 MiB, far above any cache. */
  bytes?: number;
  /** The best counts. Rounds that other processes disturbed are repeated, to an end. Default 5. */
  rounds?: number;
  /** As the backend's. */
  vectorBits?: VectorBits;
}

export interface ReadBandwidth {
  /** 10^9 bytes per second. */
  gigabytesPerSecond: number;
  /** Other processes took processor time in most rounds, or there are more threads than processors: it may well be too low. */
  disturbed: boolean;
}

const LINE = 64;

// Threads that read keep a processor each: a round in which they had less than this share of them was disturbed by other processes, and
// is tried again, so many times as often as there should be rounds.
const CALM = 0.95;
const MOST_TRIES = 20;

/**
 * How fast the wasm backend's threads can read memory: the best of some rounds of vector loads over a
 * range of memory that was written before, behind one round that does not count. What bounds a decode step, which reads each weight once.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_OUT_OF_MEMORY, LLMOPT_WORKER_DIED
 */
export async function measureReadBandwidth(options: ReadBandwidthOptions = {}): Promise<ReadBandwidth> {
  const threads = resolveThreads(options.threads);
  const vectorBits = resolveVectorBits(options.vectorBits);
  const { bytes: wanted = 512 * 2 ** 20, rounds = 5 } = options;
  refuseOutside('bytes', wanted, threads * LINE, 2 ** 32 - 2 ** 20);
  refuseOutside('rounds', rounds, 1, 10_000);
  const bytes = Math.floor(wanted / LINE) * LINE;

  const arena = createArena();
  const { memory } = arena;
  const out = arena.allocate(threads * LINE, 'results');
  const from = arena.allocate(bytes, 'the memory to read');
  // Pages that nobody wrote to are one and the same page of zeros, and come from the cache.
  new Uint8Array(memory.buffer, from, bytes).fill(1);
  const runner = workerKernels(arena, 'core', threads, vectorBits);
  const calls = [{ kernel: 'readMemory', args: [from, bytes, out] }];
  try {
    await runner.run(calls);
    let best = Infinity;
    let calm = 0;
    for (let round = 0; calm < rounds && round < rounds * MOST_TRIES; round++) {
      const processor = process.cpuUsage();
      const began = sharedMilliseconds();
      await runner.run(calls);
      const milliseconds = sharedMilliseconds() - began;
      const { user, system } = process.cpuUsage(processor);
      if ((user + system) / 1000 > CALM * threads * milliseconds) calm++;
      best = Math.min(best, milliseconds);
    }
    return { gigabytesPerSecond: bytes / best / 1e6, disturbed: calm < rounds };
  } finally {
    await runner.dispose();
  }
}

function refuseOutside(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    `${name} is ${value}; a whole number from ${low} to ${high} is allowed.`,
  );
}
