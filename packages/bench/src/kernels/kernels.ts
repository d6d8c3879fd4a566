import { type Graph, LlmoptError, type Profile } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';
import type { BenchmarkResult, Ratio } from '@llmopt/schema';
import { measureBandwidth } from '../bandwidth.ts';
import type { BenchmarkControl } from '../benchmark.ts';
import { type Reporter, silentReporter } from '../report/reporter.ts';
import { systemFacts } from '../result.ts';
import { median, type Summary } from '../statistics/summary.ts';
import { assertFileWritable, writeJson } from '../write.ts';
import { type ProfileFigures, profileFigures, ratioFigure, speedupFigure, timeFigure } from './figures.ts';
import { type KernelsOptions, type KernelsSettings, resolveKernelsOptions } from './options.ts';
import { type Contestant, measureRounds, stepsFor } from './rounds.ts';
import { type LoadFigures, openRunner, type Runner, type RunnerOptions } from './runner.ts';
import { openSubject, type Subject } from './subject.ts';

/** Tokens of a measured prefill, and how long all measurements of it may take together. */
const prefillTokens = 512;
const prefillBudgetMs = 90_000;
const leastPrefills = 5;
const profiledSteps = 30;
const profiledPrefills = 5;

/** What `llmopt-bench kernels` measures. Times in milliseconds; bytes and operations per second in units of 10^9. */
export type KernelsResult = {
  kind: 'kernels';
  createdAt: string;
  system: BenchmarkResult['system'];
  model: { name: string; parameters: number; weightsBytes: number };
  settings: { threads: number; prompt: number; rounds: number };
  /**
   * Of the dense model, the first that the process loads. The layers of a shape share their weights, which are packed once: that takes a
   * fraction of the time that a checkpoint of this size would. `peakOverWeights`: of the resident set, over the bytes of the packed weights.
   */
  load: LoadFigures & { peakOverWeights: number };
  /**
   * Of memory, on the backend's threads: before and after everything else. Where both were disturbed by other processes, it may be too
   * low, and shares of it too high.
   */
  readBandwidthGBs: { before: number; after: number; best: number; disturbed: boolean };
  /**
   * Processor time of this process while steps were measured, as a share of what its threads could have had. Well below 1, other processes
   * took theirs, and all figures are too low.
   */
  processorShare: number;
  decode: {
    milliseconds: Summary;
    tokensPerSecond: number;
    /** Weights that a token reads: all but the embedding's rows, where these are not the head. */
    weightBytes: number;
    weightGBs: number;
    /** `weightGBs` as a share of the best read bandwidth. */
    shareOfReadBandwidth: number;
  };
  /** Steps of several streams; `ratio` is their time over that of one stream. */
  rows: { rows: number; milliseconds: Summary; ratio: Summary }[];
  larosa: { sparsity: number; milliseconds: Summary; tokensPerSecond: number; decodeSpeedup: Ratio }[];
  prefill: { tokens: number; milliseconds: Summary; tokensPerSecond: number };
  profiles: ProfileFigures[];
};

interface Session {
  settings: KernelsSettings;
  subject: Subject;
  reporter: Reporter;
  signal: AbortSignal | undefined;
}

/** A graph that is measured: the model as it is, or with LaRoSA. */
interface Variant {
  name: string;
  sparsity: number | undefined;
}

const variantsOf = (settings: KernelsSettings): Variant[] => [
  { name: 'dense', sparsity: undefined },
  ...settings.larosa.map((sparsity) => ({ name: `larosa ${sparsity}`, sparsity })),
];

async function graphOf({ graph }: Subject, sparsity: number | undefined): Promise<Graph> {
  return sparsity === undefined ? graph : ((await larosa({ sparsity }).graph?.(graph)) ?? graph);
}

async function openVariant(
  { name, sparsity }: Variant,
  { settings, subject, reporter, signal }: Session,
  options: Pick<RunnerOptions, 'slots' | 'leastSlots' | 'profile'>,
): Promise<Runner> {
  reporter.stage(options.profile ? `Profile of ${name}` : `Loading ${name}`);
  return openRunner({
    ...options,
    subject,
    graph: await graphOf(subject, sparsity),
    threads: settings.threads,
    prompt: settings.prompt,
    prefillTokens,
    onProgress: ({ stage, fraction }) => reporter.progress(fraction, stage),
    signal,
  });
}

/** Call what it returns for the share of the processors' time that this process had since. */
function watchProcessor(threads: number): () => number {
  const began = performance.now();
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / (performance.now() - began) / threads;
  };
}

/** A contestant that decodes; its first turn, which does not count, tells how many steps make up the others. */
function decodeContestant(name: string, runner: Runner, rows: number): Contestant {
  let steps = 3;
  return {
    name,
    async measure() {
      const milliseconds = await runner.decode(rows, steps);
      steps = stepsFor(milliseconds);
      return milliseconds;
    },
  };
}

async function measureTimes(session: Session) {
  const { settings, reporter } = session;
  const runners: Runner[] = [];
  try {
    const variants = variantsOf(settings);
    for (const variant of variants) {
      const options =
        variant.sparsity === undefined
          ? { slots: Math.max(...settings.rows), leastSlots: settings.leastRows }
          : { slots: 1 };
      runners.push(await openVariant(variant, session, options));
    }
    const [dense, ...sparse] = runners as [Runner, ...Runner[]];
    const rows = settings.rows.filter((count) => count <= dense.slots);
    const left = settings.rows.filter((count) => count > dense.slots);
    if (left.length > 0) reporter.note(`Steps of ${left.join(' and ')} rows do not fit into memory and are left out.`);
    reporter.stage('Decode');
    const contestants = [
      ...rows.map((count) => decodeContestant(`${count} rows`, dense, count)),
      ...sparse.map((runner, index) => decodeContestant(variants[index + 1]?.name ?? '', runner, 1)),
    ];
    const processor = watchProcessor(dense.threads);
    const samples = await measureRounds(contestants, settings.rounds, reporter.progress);
    const processorShare = processor();
    reporter.stage('Prefill');
    const warmUp = await dense.prefill();
    const prefills = Math.min(settings.rounds, Math.max(leastPrefills, Math.floor(prefillBudgetMs / warmUp)));
    const prefill: number[] = [];
    for (let round = 0; round < prefills; round++) {
      reporter.progress(round / prefills);
      prefill.push(await dense.prefill());
    }
    return {
      threads: dense.threads,
      processorShare,
      weightsBytes: dense.weightsBytes,
      load: dense.load,
      rows: rows.map((count, index) => ({ rows: count, samples: samples[index] as number[] })),
      larosa: samples.slice(rows.length),
      prefill,
    };
  } finally {
    await Promise.all(runners.map((runner) => runner.dispose()));
  }
}

/** Keeping times slows kernels down a little, so this comes after all that is timed. */
async function measureProfiles(session: Session): Promise<ProfileFigures[]> {
  const profiles: ProfileFigures[] = [];
  for (const variant of variantsOf(session.settings)) {
    const runner = await openVariant(variant, session, { slots: 1, profile: true });
    try {
      const add = async (name: string, count: number, work: () => Promise<unknown>) => {
        const parts: Profile[] = [];
        for (let part = 0; part < count; part++) {
          session.reporter.progress(part / count, name);
          parts.push(await runner.profileOf(work));
        }
        profiles.push(profileFigures(`${variant.name}, ${name}`, parts));
      };
      await add('decode', profiledSteps, () => runner.decode(1, 1));
      if (variant.sparsity === undefined) await add('prefill', profiledPrefills, () => runner.prefill());
    } finally {
      await runner.dispose();
    }
  }
  return profiles;
}

async function measure(session: Session): Promise<KernelsResult> {
  const { settings, subject, reporter, signal } = session;
  reporter.stage('Memory bandwidth');
  const before = await measureBandwidth(settings.threads, signal);
  const times = await measureTimes(session);
  const profiles = await measureProfiles(session);
  reporter.stage('Memory bandwidth');
  const after = await measureBandwidth(settings.threads, signal);

  const best = Math.max(before.gigabytesPerSecond, after.gigabytesPerSecond);
  // `rows` begins with 1.
  const single = times.rows[0]?.samples as number[];
  const milliseconds = timeFigure(single);
  const { weightBytesPerStep: weightBytes } = profiles[0] as ProfileFigures;
  const weightGBs = weightBytes / milliseconds.median / 1e6;
  return {
    kind: 'kernels',
    createdAt: new Date().toISOString(),
    system: { ...systemFacts(), memoryBandwidthGBs: best },
    model: { name: subject.name, parameters: parametersOf(subject), weightsBytes: times.weightsBytes },
    settings: { threads: times.threads, prompt: settings.prompt, rounds: settings.rounds },
    load: { ...times.load, peakOverWeights: times.load.peakBytes / times.weightsBytes },
    readBandwidthGBs: {
      before: before.gigabytesPerSecond,
      after: after.gigabytesPerSecond,
      best,
      disturbed: before.disturbed && after.disturbed,
    },
    processorShare: times.processorShare,
    decode: {
      milliseconds,
      tokensPerSecond: 1000 / milliseconds.median,
      weightBytes,
      weightGBs,
      shareOfReadBandwidth: weightGBs / best,
    },
    rows: times.rows.map(({ rows, samples }) => ({
      rows,
      milliseconds: timeFigure(samples),
      ratio: ratioFigure(samples, single),
    })),
    larosa: settings.larosa.map((sparsity, index) => {
      const samples = times.larosa[index] as number[];
      return {
        sparsity,
        milliseconds: timeFigure(samples),
        tokensPerSecond: 1000 / median(samples),
        decodeSpeedup: speedupFigure(single, samples),
      };
    }),
    prefill: {
      tokens: prefillTokens,
      milliseconds: timeFigure(times.prefill),
      tokensPerSecond: (prefillTokens * 1000) / median(times.prefill),
    },
    profiles,
  };
}

const parametersOf = ({ graph }: Subject) =>
  Array.from(graph.params.values()).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);

/**
 * Measures the wasm backend's kernels on a model, in this process: the machine's read bandwidth, a decode step, steps of several streams,
 * LaRoSA's gain, a prefill, and where the time goes. Writes the result to `options.output` and returns it; an interrupted run writes nothing.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED, LLMOPT_BENCH_FAILED, and what loading a model throws
 */
export async function runKernels(
  options: KernelsOptions = {},
  { reporter = silentReporter, signal }: BenchmarkControl = {},
): Promise<KernelsResult> {
  const settings = resolveKernelsOptions(options);
  await assertFileWritable(settings.output);
  try {
    reporter.stage('Finding the model');
    const onProgress = ({ stage, fraction }: { stage: string; fraction: number }) => reporter.progress(fraction, stage);
    const tokenCount = Math.max(prefillTokens, settings.prompt) + 1;
    const subject = await openSubject(settings.subject, tokenCount, { onProgress, signal });
    try {
      const result = await measure({ settings, subject, reporter, signal });
      await writeJson(settings.output, result);
      reporter.note(`The result is in ${settings.output}.`);
      return result;
    } finally {
      await subject.close();
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new LlmoptError('LLMOPT_ABORTED', 'The measurement was interrupted.', { cause: error });
  } finally {
    reporter.end();
  }
}
