import { availableParallelism, cpus, totalmem } from 'node:os';
import { type Profile as CoreProfile, LlmoptError } from '@llmopt/core';
import type { Arm, BenchmarkResult, Comparison, Peer, PeerComparison, Profile, Ratio } from '@llmopt/schema';
import type { LoadReport } from './arms/protocol.ts';
import { modelName } from './modelName.ts';
import type { Settings } from './options.ts';
import type { Calibration, SettingTried } from './peers/calibrate.ts';
import type { Engine } from './peers/open.ts';
import type { PeerLoadReport, PeerSetting } from './peers/protocol.ts';
import type { QualityReport } from './quality/evaluate.ts';
import type { Sample } from './runner.ts';
import { pairedRatio, verdictOf } from './statistics/ratio.ts';
import { type Summary, summarize } from './statistics/summary.ts';

/** What was learnt of one arm so far. */
export interface ArmRecord {
  load: LoadReport;
  samples: Sample[];
  responses: { prompt: string; text: string }[];
  profile?: CoreProfile;
}

/** What was learnt of an arm of another engine so far. */
export interface PeerRecord extends Pick<ArmRecord, 'samples' | 'responses'> {
  name: string;
  package: string;
  version: string;
  /** Name of the model's file. */
  file: string;
  quantization: string;
  setting: PeerSetting;
  load: PeerLoadReport;
  calibration: Calibration;
}

/** What was learnt so far: baseline first, then optimised. */
export interface BenchmarkRecord {
  settings: Settings;
  createdAt: Date;
  arms: ArmRecord[];
  peers: PeerRecord[];
  /** Engines that were asked for but cannot take part. */
  skippedPeers: (Pick<Engine, 'name' | 'package'> & { reason: string })[];
  /** Of the machine, on the backend's threads, in GB/s. */
  memoryBandwidthGBs?: number | undefined;
  quality?: QualityReport;
}

/** The machine that this process runs on. */
export function systemFacts(): BenchmarkResult['system'] {
  return {
    cpu: cpus()[0]?.model.trim() || process.arch,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    node: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
  };
}

/** Figures that the schema wants: there is at least one sample, and the fake values of none would be lies. */
function figure<Item>(items: readonly Item[], of: (item: Item) => number): Summary {
  const summary = summarize(items.map(of));
  if (summary) return summary;
  throw new LlmoptError('LLMOPT_BENCH_FAILED', 'An arm reported times that are no numbers.');
}

/** Per step, with layer -1 for ops outside the layers. */
function profileResult({ steps, stepMilliseconds, entries }: CoreProfile): Profile {
  const perStep = (milliseconds: number) => Math.max(0, milliseconds / Math.max(1, steps));
  return {
    steps,
    stepMilliseconds: perStep(stepMilliseconds),
    entries: entries.map(({ kind, layer = -1, milliseconds }) => ({
      kind,
      layer,
      milliseconds: perStep(milliseconds),
    })),
  };
}

export const timeFigures = (samples: readonly Sample[], load: { loadSeconds: number }): Arm['time'] => ({
  totalSeconds: figure(samples, ({ totalSeconds }) => totalSeconds),
  tokensPerSecond: figure(samples, ({ timePerOutputTokenMs }) => 1000 / timePerOutputTokenMs),
  timeToFirstTokenMs: figure(samples, ({ timeToFirstTokenMs }) => timeToFirstTokenMs),
  timePerOutputTokenMs: figure(samples, ({ timePerOutputTokenMs }) => timePerOutputTokenMs),
  prefillTokensPerSecond: figure(samples, ({ prefillTokensPerSecond }) => prefillTokensPerSecond),
  loadSeconds: figure([load], ({ loadSeconds }) => loadSeconds),
});

export const tokenFigures = (samples: readonly Sample[]): Arm['tokens'] => ({
  input: figure(samples, ({ inputTokens }) => inputTokens),
  output: figure(samples, ({ outputTokens }) => outputTokens),
  total: figure(samples, ({ inputTokens, outputTokens }) => inputTokens + outputTokens),
});

export const memoryFigures = (samples: readonly Sample[]): Arm['memory'] => ({
  peakMb: figure(samples, ({ peakMb }) => peakMb),
  averageMb: figure(samples, ({ averageMb }) => averageMb),
  tokensPerMb: figure(samples, ({ outputTokens, peakMb }) => outputTokens / peakMb),
});

function peerResult(record: PeerRecord): Peer {
  const { name, package: packageName, version, file, quantization, setting, load, calibration } = record;
  const { samples, responses } = record;
  const triedResult = ({ setting: { name, ...options }, ...figures }: SettingTried) => ({ name, options, ...figures });
  return {
    name,
    kind: 'peer',
    package: packageName,
    version,
    file,
    quantization,
    settings: { name: setting.name, ...load.settings, poolThreads: setting.poolThreads },
    settingsTried: calibration.tried.map(triedResult),
    best: {
      decode: triedResult(calibration.decode),
      prefill: triedResult(calibration.prefill),
    },
    time: timeFigures(samples, load),
    tokens: tokenFigures(samples),
    memory: memoryFigures(samples),
    responses,
    runs: samples,
  };
}

function armResult(kind: 'baseline' | 'optimized', record: ArmRecord, quality: QualityReport | undefined): Arm {
  const { load, samples, responses, profile } = record;
  const comparison = kind === 'optimized' ? quality?.comparison : undefined;
  return {
    name: kind,
    kind,
    plugins: load.plugins.map(({ name }) => name),
    pluginDetails: load.plugins,
    time: timeFigures(samples, load),
    tokens: tokenFigures(samples),
    memory: { ...memoryFigures(samples), kvPeakMb: figure(samples, ({ kvMb }) => kvMb ?? Number.NaN) },
    quality: {
      responseLength: figure(responses, ({ text }) => Array.from(text).length),
      ...quality?.[kind],
      ...comparison,
    },
    metrics: metricFigures(samples),
    responses,
    runs: samples,
    ...(profile && { profile: profileResult(profile) }),
  };
}

/** The plugins' own figures over all runs. */
function metricFigures(samples: readonly Sample[]): Record<string, Summary> {
  const names = new Set(samples.flatMap(({ metrics }) => Object.keys(metrics)));
  return Object.fromEntries(
    Array.from(names, (name) => [name, figure(samples, ({ metrics }) => metrics[name] ?? Number.NaN)]),
  );
}

/** Runs of the same prompt in the same round, first arm and second arm. */
export function pairSamples<Run extends { runIndex: number; promptIndex: number }>(
  first: readonly Run[],
  second: readonly Run[],
): [Run, Run][] {
  const keyOf = ({ runIndex, promptIndex }: Run) => `${runIndex} ${promptIndex}`;
  const others = new Map(second.map((run) => [keyOf(run), run]));
  return first.flatMap((run) => {
    const other = others.get(keyOf(run));
    return other ? [[run, other] as [Run, Run]] : [];
  });
}

/** A ratio above 1 turned into per cent of gain, by a function that grows. */
function percent({ mean, median, ci95, n }: Summary, turn: (ratio: number) => number): Summary {
  return { mean: turn(mean), median: turn(median), ci95: ci95 && [turn(ci95[0]), turn(ci95[1])], n };
}

const gain = (ratio: number) => (ratio - 1) * 100;
const reduction = (ratio: number) => (1 - 1 / ratio) * 100;
const verdicts = { higher: 'faster', lower: 'slower', 'no difference shown': 'no difference shown' } as const;

/** A request that wrote nothing counts as one character, for a ratio needs something. */
const charactersPerSecond = ({ characters, totalSeconds }: Sample) => Math.max(1, characters) / totalSeconds;

/** A ratio over pairs, above 1 where the subject is better than what it is compared with. */
export function ratioOf(
  pairs: readonly (readonly [reference: Sample, subject: Sample])[],
  better: (subject: Sample, reference: Sample) => number,
): Ratio {
  const summary = pairedRatio(pairs.map(([a, b]) => [better(b, a), 1]));
  if (summary) return { ...summary, verdict: verdicts[verdictOf(summary)] };
  throw new LlmoptError('LLMOPT_BENCH_FAILED', 'The arms cannot be compared: a measurement is zero.');
}

/** The baseline against another engine, pair by pair: above 1 where the baseline is faster. Empty without a pair. */
function comparePeer({ name, samples }: PeerRecord, baseline: readonly Sample[]): PeerComparison[] {
  const pairs = pairSamples(samples, baseline);
  if (pairs.length === 0) return [];
  const ratio = (better: (baseline: Sample, peer: Sample) => number) => ratioOf(pairs, better);
  return [
    {
      name,
      decodeSpeedup: ratio((a, b) => b.timePerOutputTokenMs / a.timePerOutputTokenMs),
      prefillSpeedup: ratio((a, b) => a.prefillTokensPerSecond / b.prefillTokensPerSecond),
      timeToFirstTokenSpeedup: ratio((a, b) => b.timeToFirstTokenMs / a.timeToFirstTokenMs),
      endToEndSpeedup: ratio((a, b) => b.totalSeconds / a.totalSeconds),
    },
  ];
}

/** The arms pair by pair. Every ratio is turned so that above 1 is better. Undefined without a pair. */
function compare(baseline: readonly Sample[], optimized: readonly Sample[]): Comparison | undefined {
  const pairs = pairSamples(baseline, optimized);
  if (pairs.length === 0) return undefined;
  const ratio = (better: (optimized: Sample, baseline: Sample) => number) => ratioOf(pairs, better);
  const endToEndSpeedup = ratio((b, a) => a.totalSeconds / b.totalSeconds);
  const throughput = ratio((b, a) => b.outputTokens / b.totalSeconds / (a.outputTokens / a.totalSeconds));
  const tokens = ratio((b, a) => (a.inputTokens + a.outputTokens) / (b.inputTokens + b.outputTokens));
  return {
    decodeSpeedup: ratio((b, a) => a.timePerOutputTokenMs / b.timePerOutputTokenMs),
    endToEndSpeedup,
    charactersPerSecondGain: ratio((b, a) => charactersPerSecond(b) / charactersPerSecond(a)),
    timeReductionPct: percent(endToEndSpeedup, reduction),
    throughputGainPct: percent(throughput, gain),
    tokenReductionPct: percent(tokens, reduction),
    memoryReductionPct: percent(
      ratio((b, a) => a.peakMb / b.peakMb),
      reduction,
    ),
  };
}

/**
 * The result as far as it was measured; undefined as long as there is no sample of every arm, for then there is
 * nothing to tell. An incomplete result has no comparison.
 */
export function assembleResult(
  record: BenchmarkRecord,
  { incomplete }: { incomplete: boolean },
): BenchmarkResult | undefined {
  const [baseline, optimized] = record.arms;
  if (!baseline || !optimized || baseline.samples.length === 0 || optimized.samples.length === 0) return undefined;
  const { settings, quality, memoryBandwidthGBs } = record;
  const { model, backend, chatTemplate } = baseline.load;
  const peers = record.peers.filter(({ samples }) => samples.length > 0);
  const comparison = incomplete ? undefined : compare(baseline.samples, optimized.samples);
  if (comparison && peers.length > 0) {
    comparison.peers = peers.flatMap((peer) => comparePeer(peer, baseline.samples));
  }
  return {
    schemaVersion: 1,
    createdAt: record.createdAt.toISOString(),
    ...(incomplete && { incomplete }),
    system: { ...systemFacts(), ...(memoryBandwidthGBs && { memoryBandwidthGBs }) },
    model: { ...model, name: modelName(settings.model) },
    settings: {
      prompts: settings.prompts.length,
      maxNewTokens: settings.maxNewTokens,
      runs: settings.runs,
      warmup: settings.warmup,
      seed: settings.seed,
      backend: settings.backend,
      threads: Number(backend.threads ?? 1),
      precision: String(backend.precision),
      backendSettings: { ...backend },
      chatTemplate,
      ...(quality && {
        quality: { scoredTokens: quality.scoredTokens, windows: quality.windows, windowTokens: quality.windowTokens },
      }),
    },
    arms: [armResult('baseline', baseline, quality), armResult('optimized', optimized, quality)],
    ...(peers.length > 0 && { peers: peers.map(peerResult) }),
    ...(record.skippedPeers.length > 0 && { skippedPeers: record.skippedPeers }),
    ...(comparison && { comparison }),
  };
}
