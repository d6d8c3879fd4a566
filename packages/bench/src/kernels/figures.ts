import { type KernelProfile, LlmoptError, type Profile } from '@llmopt/core';
import type { Ratio } from '@llmopt/schema';
import { pairedRatio, verdictOf } from '../statistics/ratio.ts';
import { type Summary, summarize } from '../statistics/summary.ts';

/** One kernel on one shape, as part of a step. */
export type KernelFigures = {
  kernel: string;
  /** `inputs x outputs` of a linear; absent for other kernels. */
  shape?: string;
  callsPerStep: number;
  microsecondsPerCall: number;
  /** Weight bytes read per second, and multiplications and additions. Linears only; sparse ones count as if all channels were alive. */
  gigabytesPerSecond?: number;
  gigaoperationsPerSecond?: number;
  /** Of the step's time. */
  share: number;
};

export type ProfileFigures = {
  name: string;
  steps: number;
  millisecondsPerStep: number;
  /** Weight bytes that a step reads, as if all channels were alive. */
  weightBytesPerStep: number;
  /** The dearest first. `handOver` is what passes between the threads. */
  kernels: KernelFigures[];
};

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

type Times = Pick<Profile, 'steps' | 'stepMilliseconds' | 'kernels'>;

/** The sum of those in the middle by time: what the system takes its time for is in the slowest ones, and would count for a kernel. */
export function middleHalf(profiles: readonly Times[]): Times {
  const sorted = profiles.toSorted((a, b) => a.stepMilliseconds - b.stepMilliseconds);
  const outside = Math.floor(sorted.length / 4);
  const kernels = new Map<string, KernelProfile>();
  const middle = sorted.slice(outside, sorted.length - outside);
  for (const entry of middle.flatMap((profile) => profile.kernels)) {
    const key = `${entry.kernel} ${entry.shape}`;
    const { calls = 0, milliseconds = 0, bytes = 0, operations = 0 } = kernels.get(key) ?? {};
    kernels.set(key, {
      ...entry,
      calls: calls + entry.calls,
      milliseconds: milliseconds + entry.milliseconds,
      bytes: bytes + entry.bytes,
      operations: operations + entry.operations,
    });
  }
  return {
    steps: sum(middle.map(({ steps }) => steps)),
    stepMilliseconds: sum(middle.map(({ stepMilliseconds }) => stepMilliseconds)),
    kernels: [...kernels.values()],
  };
}

/** Profiles of equal work as figures per call and per step. */
export function profileFigures(name: string, profiles: readonly Times[]): ProfileFigures {
  const { steps, stepMilliseconds, kernels } = middleHalf(profiles);
  const used = kernels.filter(({ calls }) => calls > 0);
  const figures = used.map(({ kernel, shape, calls, milliseconds, bytes, operations }): KernelFigures => {
    const figure = {
      kernel,
      callsPerStep: calls / steps,
      microsecondsPerCall: (milliseconds / calls) * 1000,
      share: milliseconds / stepMilliseconds,
    };
    if (shape === undefined) return figure;
    const rates = {
      gigabytesPerSecond: bytes / milliseconds / 1e6,
      gigaoperationsPerSecond: operations / milliseconds / 1e6,
    };
    return { ...figure, shape, ...(milliseconds > 0 && rates) };
  });
  const rest = stepMilliseconds - sum(used.map(({ milliseconds }) => milliseconds));
  const handOver = {
    kernel: 'handOver',
    callsPerStep: 1,
    microsecondsPerCall: (rest / steps) * 1000,
    share: rest / stepMilliseconds,
  };
  return {
    name,
    steps,
    millisecondsPerStep: stepMilliseconds / steps,
    weightBytesPerStep: sum(used.map(({ bytes }) => bytes)) / steps,
    kernels: [...figures, handOver].sort((a, b) => b.share - a.share),
  };
}

/** @throws LLMOPT_BENCH_FAILED without a sample that is a number */
export function timeFigure(samples: readonly number[]): Summary {
  const summary = summarize(samples);
  if (summary) return summary;
  throw new LlmoptError('LLMOPT_BENCH_FAILED', 'A measurement gave no times.');
}

const verdicts = { higher: 'faster', lower: 'slower', 'no difference shown': 'no difference shown' } as const;

/** Paired ratio of two lists of times. @throws LLMOPT_BENCH_FAILED without a pair */
export function ratioFigure(numerator: readonly number[], denominator: readonly number[]): Summary {
  const ratio = pairedRatio(numerator.map((time, round) => [time, denominator[round] ?? Number.NaN] as const));
  if (ratio) return ratio;
  throw new LlmoptError('LLMOPT_BENCH_FAILED', 'Two measurements cannot be compared: one is zero.');
}

/** How much faster the second is, with a verdict. @throws LLMOPT_BENCH_FAILED without a pair */
export function speedupFigure(before: readonly number[], after: readonly number[]): Ratio {
  const ratio = ratioFigure(before, after);
  return { ...ratio, verdict: verdicts[verdictOf(ratio)] };
}
