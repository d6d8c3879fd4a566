import { performance } from 'node:perf_hooks';
import { median } from '../statistics/summary.ts';

/** Memory at a time. All but the time are bytes. A type, so that it fits open objects. */
export type MemorySample = {
  atMs: number;
  /** Of the cache: address space, memory of its books, memory of tokens of running sequences. */
  reservedBytes?: number;
  committedBytes?: number;
  liveBytes?: number;
  /** Of the cache, as the operating system says. */
  residentBytes?: number;
  /** Resident set of the process. */
  processBytes: number;
};

export interface SamplerOptions {
  read: () => Omit<MemorySample, 'atMs'>;
  /** Between two samples, at least. Default 50. */
  intervalMs?: number;
  /** When there are more, every other one is dropped, and the interval doubles. Default 1000. */
  mostSamples?: number;
}

/** Samples must not take more than this share of the time. */
const share = 0.02;
/** How long a sample takes is the median of so many: a machine that is busy may stop one. */
const remembered = 9;

/** Samples memory at once, at intervals, and when `stop` is called. Times count from the call. */
export function startSampling({ read, intervalMs = 50, mostSamples = 1000 }: SamplerOptions): {
  stop(): MemorySample[];
} {
  const began = performance.now();
  let samples: MemorySample[] = [];
  let interval = intervalMs;
  let timer: NodeJS.Timeout | undefined;
  let costs: number[] = [];
  const sample = () => {
    const start = performance.now();
    samples.push({ atMs: start - began, ...read() });
    return performance.now() - start;
  };
  const tick = () => {
    costs = [...costs, sample()].slice(-remembered);
    if (samples.length > mostSamples) {
      samples = samples.filter((_, index) => index % 2 === 0);
      interval *= 2;
    }
    timer = setTimeout(tick, Math.max(interval, median(costs) / share));
  };
  tick();
  return {
    stop() {
      clearTimeout(timer);
      sample();
      return samples;
    },
  };
}
