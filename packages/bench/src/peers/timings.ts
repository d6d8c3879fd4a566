import type { RunReport } from '../arms/protocol.ts';

/** Timings by the definitions of a pipeline's, from when each token came. */
export function timingsOf(tokenTimesMs: number[], inputTokens: number, totalMs: number): RunReport['timings'] {
  const first = tokenTimesMs[0] ?? Number.NaN;
  const last = tokenTimesMs.at(-1) ?? Number.NaN;
  return {
    timeToFirstTokenMs: first,
    timePerOutputTokenMs: (last - first) / (tokenTimesMs.length - 1),
    prefillTokensPerSecond: (inputTokens / first) * 1000,
    totalMs,
    tokenTimesMs,
  };
}
