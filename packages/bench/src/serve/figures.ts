import type { Figure, Latency, ServeRun } from '@llmopt/schema';
import { groupedQuantiles } from '../statistics/quantiles.ts';
import { createRandom } from '../statistics/random.ts';
import { mean, median, percentile } from '../statistics/summary.ts';
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

/** A stretch of time, and the tokens of all requests in it. */
interface Stretch {
  tokens: number;
  seconds: number;
}

/** All stretches of time in which `concurrency` requests decode, so that none reads its prompt. */
export function decodeStretches(records: readonly ReplayRecord[], concurrency: number): Stretch[] {
  const changes = records
    .filter(({ tokenTimesMs }) => tokenTimesMs.length > 1)
    .flatMap((record) => [
      { at: record.tokenTimesMs[0] as number, record, begins: true },
      { at: record.tokenTimesMs.at(-1) as number, record, begins: false },
    ])
    .sort((a, b) => a.at - b.at || Number(a.begins) - Number(b.begins));
  const stretches: Stretch[] = [];
  const decoding = new Set<ReplayRecord>();
  let since = 0;
  for (const { at, record, begins } of changes) {
    if (decoding.size === concurrency && at > since) {
      let tokens = 0;
      for (const other of decoding) tokens += tokensBetween(other, since, at);
      stretches.push({ tokens, seconds: (at - since) / 1000 });
    }
    if (begins) decoding.add(record);
    else decoding.delete(record);
    since = at;
  }
  return stretches;
}

const resamples = 1000;

/** Tokens per second over all stretches together; the interval is a bootstrap over them. Undefined without one. */
export function rateOf(stretches: readonly Stretch[], seed: number): Figure | undefined {
  if (stretches.length === 0) return undefined;
  const rate = (of: readonly Stretch[]) =>
    of.reduce((sum, { tokens }) => sum + tokens, 0) / of.reduce((sum, { seconds }) => sum + seconds, 0);
  const random = createRandom(seed);
  const draw = () => stretches[Math.floor(random() * stretches.length)] as Stretch;
  const rates = Array.from({ length: stretches.length > 1 ? resamples : 0 }, () => rate(stretches.map(draw)));
  return {
    mean: rate(stretches),
    median: median(stretches.map((stretch) => rate([stretch]))),
    ci95: rates.length > 0 ? [percentile(rates, 0.025), percentile(rates, 0.975)] : null,
    n: stretches.length,
  };
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
  const decodeTokensPerSecond = rateOf(decodeStretches(served, about.concurrency), seed);
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
