import type { Latency, ServeRun } from '@llmopt/schema';
import { groupedQuantiles } from '../statistics/quantiles.ts';
import { mean, summarize } from '../statistics/summary.ts';
import type { ServeReport } from './protocol.ts';
import type { ReplayRecord } from './replay.ts';

/** Prompts from this length on keep others waiting. */
const longPrompt = 512;

export function latencyOf(groups: readonly (readonly number[])[], seed: number): Latency | undefined {
  const samples = groups.flat();
  if (samples.length === 0) return undefined;
  const [p50, p90, p99] = groupedQuantiles(groups, [0.5, 0.9, 0.99], { seed }) as [
    Latency['p50'],
    Latency['p90'],
    Latency['p99'],
  ];
  return { p50, p90, p99, mean: mean(samples), n: samples.length };
}

const gapsOf = ({ tokenTimesMs }: ReplayRecord) =>
  tokenTimesMs.slice(1).map((time, index) => ({ from: tokenTimesMs[index] as number, to: time }));

/** Gaps of each request that overlap the reading of a long prompt of another one. */
function gapsWhilePrefill(records: readonly ReplayRecord[]): number[][] {
  const readings = records
    .filter(({ promptTokens, tokenTimesMs }) => promptTokens >= longPrompt && tokenTimesMs.length > 0)
    .map((record) => ({ record, from: record.startMs, to: record.tokenTimesMs[0] as number }));
  return records.map((record) =>
    gapsOf(record)
      .filter(({ from, to }) =>
        readings.some((reading) => reading.record !== record && reading.from < to && reading.to > from),
      )
      .map(({ from, to }) => to - from),
  );
}

/** Tokens of a request that come between two times; of a gap between two tokens the part that lies there. */
function tokensBetween(record: ReplayRecord, start: number, end: number): number {
  let sum = 0;
  for (const { from, to } of gapsOf(record)) {
    const overlap = Math.min(to, end) - Math.max(from, start);
    if (overlap > 0) sum += overlap / (to - from);
  }
  return sum;
}

/**
 * Tokens per second of all requests together in each stretch of time in which `concurrency` of them decode, so that none reads a prompt.
 * Stretches with fewer than four tokens per request say nothing.
 */
export function decodeRates(records: readonly ReplayRecord[], concurrency: number): number[] {
  const changes = records
    .filter(({ tokenTimesMs }) => tokenTimesMs.length > 1)
    .flatMap((record) => [
      { at: record.tokenTimesMs[0] as number, record, begins: true },
      { at: record.tokenTimesMs.at(-1) as number, record, begins: false },
    ])
    .sort((a, b) => a.at - b.at || Number(a.begins) - Number(b.begins));
  const rates: number[] = [];
  const decoding = new Set<ReplayRecord>();
  let since = 0;
  for (const { at, record, begins } of changes) {
    if (decoding.size === concurrency && at > since) {
      let tokens = 0;
      for (const other of decoding) tokens += tokensBetween(other, since, at);
      if (tokens >= 4 * concurrency) rates.push(tokens / ((at - since) / 1000));
    }
    if (begins) decoding.add(record);
    else decoding.delete(record);
    since = at;
  }
  return rates;
}

/** What a replay shows. */
export function figuresOf(
  { records, wallMs, memory, processBytesBefore, mostHeld, slots, metrics }: ServeReport,
  about: Pick<ServeRun, 'name' | 'kind' | 'concurrency' | 'loadSeconds'>,
  seed: number,
): ServeRun {
  const served = records.filter(({ failure }) => failure === undefined);
  const wallSeconds = wallMs / 1000;
  const sum = (of: (record: ReplayRecord) => number) => served.reduce((total, record) => total + of(record), 0);
  const outputTokens = sum(({ tokenTimesMs }) => tokenTimesMs.length);
  const firstOf = ({ tokenTimesMs, dueMs }: ReplayRecord) => (tokenTimesMs[0] as number) - dueMs;
  const failures: Record<string, number> = {};
  for (const { failure } of records) if (failure !== undefined) failures[failure] = (failures[failure] ?? 0) + 1;
  const decodeTokensPerSecond = summarize(decodeRates(served, about.concurrency));
  const latencies = {
    timeToFirstTokenMs: latencyOf(
      served.map((record) => [firstOf(record)]),
      seed,
    ),
    interTokenMs: latencyOf(
      served.map((record) => gapsOf(record).map(({ from, to }) => to - from)),
      seed,
    ),
    interTokenWhilePrefillMs: latencyOf(gapsWhilePrefill(served), seed),
  };
  return {
    ...about,
    slots,
    wallSeconds,
    throughput: {
      outputTokensPerSecond: outputTokens / wallSeconds,
      totalTokensPerSecond: (outputTokens + sum(({ promptTokens }) => promptTokens)) / wallSeconds,
      requestsPerSecond: served.length / wallSeconds,
      ...(decodeTokensPerSecond && { decodeTokensPerSecond }),
    },
    ...Object.fromEntries(Object.entries(latencies).filter(([, latency]) => latency !== undefined)),
    ...(mostHeld !== undefined && { mostHeld }),
    memory: { processBytesBefore, samples: memory },
    metrics,
    failures,
    requests: records.map(({ tokenTimesMs, failure, ...record }) => ({
      ...record,
      outputTokens: tokenTimesMs.length,
      ...(tokenTimesMs.length > 0 && { timeToFirstTokenMs: firstOf({ ...record, tokenTimesMs }) }),
      ...(failure !== undefined && { failure }),
    })),
  };
}
