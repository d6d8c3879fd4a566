import { availableParallelism, cpus, totalmem } from 'node:os';
import { basename } from 'node:path';
import type { Profile } from '@llmopt/core';
import type { BenchmarkResult } from '@llmopt/schema';
import type { LoadReport } from './arms/protocol.ts';
import type { Settings } from './options.ts';
import type { QualityReport } from './quality/evaluate.ts';
import type { Sample } from './runner.ts';
import { pairedRatio, type Ratio } from './statistics/ratio.ts';
import { type Summary, summarize } from './statistics/summary.ts';

const bytesPerMb = 2 ** 20;

/** What was learnt of one arm so far. */
export interface ArmRecord {
  load: LoadReport;
  samples: Sample[];
  responses: { prompt: string; text: string }[];
  profile?: Profile;
}

/** What was learnt so far: baseline first, then optimised. */
export interface BenchmarkRecord {
  settings: Settings;
  createdAt: Date;
  arms: ArmRecord[];
  quality?: QualityReport;
}

type Arm = BenchmarkResult['arms'][number];

function systemFacts(): BenchmarkResult['system'] {
  return {
    cpu: cpus()[0]?.model.trim() || process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
}

function armResult(name: Arm['name'], record: ArmRecord, quality: QualityReport | undefined): Arm {
  const { load, samples, responses, profile } = record;
  const figure = (of: (sample: Sample) => number): Summary | undefined => summarize(samples.map(of));
  const lengths = summarize(responses.map(({ text }) => Array.from(text).length));
  const foresight = name === 'baseline' ? quality?.baseline : quality?.optimized;
  const comparison = name === 'optimized' ? quality?.comparison : undefined;
  return {
    name,
    plugins: load.plugins,
    time: {
      totalSeconds: figure(({ totalSeconds }) => totalSeconds),
      tokensPerSecond: figure(({ timePerOutputTokenMs }) => 1000 / timePerOutputTokenMs),
      timeToFirstTokenMs: figure(({ timeToFirstTokenMs }) => timeToFirstTokenMs),
      timePerOutputTokenMs: figure(({ timePerOutputTokenMs }) => timePerOutputTokenMs),
      prefillTokensPerSecond: figure(({ prefillTokensPerSecond }) => prefillTokensPerSecond),
      loadSeconds: load.loadSeconds,
    },
    tokens: {
      input: figure(({ inputTokens }) => inputTokens),
      output: figure(({ outputTokens }) => outputTokens),
      total: figure(({ inputTokens, outputTokens }) => inputTokens + outputTokens),
    },
    memory: {
      peakMb: figure(({ peakBytes }) => peakBytes / bytesPerMb),
      averageMb: figure(({ averageBytes }) => averageBytes / bytesPerMb),
      tokensPerMb: figure(({ outputTokens, peakBytes }) => outputTokens / (peakBytes / bytesPerMb)),
      kvPeakMb: figure(({ kvBytes }) => kvBytes / bytesPerMb),
    },
    quality: {
      responseLength: lengths,
      perplexity: foresight?.perplexity,
      bitsPerByte: foresight?.bitsPerByte,
      klDivergence: comparison?.klDivergence,
      topTokenAgreement: comparison?.topTokenAgreement,
    },
    responses,
    runs: samples,
    profile,
  } as unknown as Arm;
}

/** Runs of the same prompt in the same round, first arm and second arm. */
export function pairSamples<Run extends { run: number; prompt: number }>(
  first: readonly Run[],
  second: readonly Run[],
): [Run, Run][] {
  const keyOf = ({ run, prompt }: Run) => `${run} ${prompt}`;
  const others = new Map(second.map((run) => [keyOf(run), run]));
  return first.flatMap((run) => {
    const other = others.get(keyOf(run));
    return other ? [[run, other] as [Run, Run]] : [];
  });
}

/** A ratio turned into per cent, by a function that may reverse the order. */
function percent(ratio: Ratio | undefined, of: (ratio: number) => number): Summary | undefined {
  if (!ratio) return undefined;
  const ends = ratio.ci95.map(of) as [number, number];
  return { mean: of(ratio.mean), median: of(ratio.median), ci95: [Math.min(...ends), Math.max(...ends)], n: ratio.n };
}

const gain = (ratio: number) => (ratio - 1) * 100;
const reduction = (ratio: number) => (1 - ratio) * 100;

function compare(baseline: readonly Sample[], optimized: readonly Sample[]): BenchmarkResult['comparison'] {
  const pairs = pairSamples(baseline, optimized);
  const ratio = (of: (sample: Sample) => number, which: 'first over second' | 'second over first') =>
    pairedRatio(pairs.map(([a, b]) => (which === 'first over second' ? [of(a), of(b)] : [of(b), of(a)])));
  const tokens = ({ inputTokens, outputTokens }: Sample) => inputTokens + outputTokens;
  const time = ratio(({ totalSeconds }) => totalSeconds, 'second over first');
  return {
    decodeSpeedup: ratio(({ timePerOutputTokenMs }) => timePerOutputTokenMs, 'first over second'),
    endToEndSpeedup: ratio(({ totalSeconds }) => totalSeconds, 'first over second'),
    charactersPerSecondGain: ratio(({ characters, totalSeconds }) => characters / totalSeconds, 'second over first'),
    timeReductionPct: percent(time, reduction),
    throughputGainPct: percent(
      ratio(({ outputTokens, totalSeconds }) => outputTokens / totalSeconds, 'second over first'),
      gain,
    ),
    tokenReductionPct: percent(ratio(tokens, 'second over first'), reduction),
    memoryReductionPct: percent(
      ratio(({ peakBytes }) => peakBytes, 'second over first'),
      reduction,
    ),
  } as unknown as BenchmarkResult['comparison'];
}

/**
 * The result as far as it was measured; undefined as long as there is no sample of every arm, for then there is
 * nothing to tell.
 */
export function assembleResult(
  record: BenchmarkRecord,
  { incomplete }: { incomplete: boolean },
): BenchmarkResult | undefined {
  const [baseline, optimized] = record.arms;
  if (!baseline || !optimized || baseline.samples.length === 0 || optimized.samples.length === 0) return undefined;
  const { settings, quality } = record;
  const { model, backend } = baseline.load;
  return {
    schemaVersion: 1,
    createdAt: record.createdAt.toISOString(),
    incomplete,
    system: systemFacts(),
    model: { ...model, name: modelName(settings.model) },
    settings: {
      prompts: settings.prompts,
      maxNewTokens: settings.maxNewTokens,
      runs: settings.runs,
      warmup: settings.warmup,
      seed: settings.seed,
      backend: settings.backend,
      threads: Number(backend.threads),
      precision: String(backend.precision),
      chatTemplate: baseline.load.chatTemplate,
    },
    arms: [armResult('baseline', baseline, quality), armResult('optimized', optimized, quality)],
    comparison: compare(baseline.samples, optimized.samples),
  } as unknown as BenchmarkResult;
}

/** What the user called the model, without the folders of their machine. */
function modelName(model: string): string {
  return model.endsWith('.gguf') ? basename(model) : model;
}
