import type { Distance, SweepPoint } from '@llmopt/schema';
import { loadArm } from '../arms/load.ts';
import type { ArmProcess } from '../arms/parent.ts';
import type { LoadReport } from '../arms/protocol.ts';
import type { ArmSpec } from '../arms/spec.ts';
import { openPeer, type PeerTarget } from '../peers/open.ts';
import type { Divergences } from '../quality/divergences.ts';
import { bootstrapped } from '../quality/evaluate.ts';
import { windowsFor } from '../quality/logitsFile.ts';
import { type TextReader, windowTokensOf } from '../quality/walk.ts';
import type { Reporter } from '../report/reporter.ts';
import { pairSamples, ratioOf } from '../result.ts';
import { runTimed, type Sample } from '../runner.ts';
import { type Summary, summarize } from '../statistics/summary.ts';
import type { SweepSettings } from './options.ts';
import type { PlannedPoint } from './plan.ts';
import type { References } from './references.ts';
import type { Precision } from './weightBytes.ts';

export interface MeasureOptions {
  settings: SweepSettings;
  /** Path of the model's file. */
  model: string;
  /** The text to compare on. */
  text: string;
  references: References;
  /** The arm of a point of another engine. */
  peers: ReadonlyMap<string, PeerTarget>;
  /** How the model reads the text. */
  reader: TextReader;
  reporter: Reporter;
  signal?: AbortSignal | undefined;
}

/** Another engine hands out its probabilities a map at a time, which takes about 60 ms for 49,152 tokens. */
const peerPositions = 1024;
const patienceMs = 2_000;

interface Session extends MeasureOptions {
  /** The dense model of the sweep's precision, which takes its turn with every point. */
  dense: { arm: ArmProcess; report: LoadReport };
  /** Negative log-likelihoods under the dense float32 model, a position each. */
  float32Losses: number[];
}

function specOf(
  { settings, model }: MeasureOptions,
  point: Pick<PlannedPoint, 'name' | 'precision' | 'options'>,
): ArmSpec {
  const backend = { name: 'wasm', threads: settings.threads, precision: point.precision as Precision } as const;
  const plugins = point.options ? [{ name: 'larosa' as const, options: point.options as { sparsity: number } }] : [];
  return { name: point.name, model, backend, plugins };
}

const open = (options: MeasureOptions, spec: ArmSpec) =>
  loadArm(spec, { ...options, ...options.settings, signal: options.signal });

async function writeLogits(arm: ArmProcess, file: string, options: MeasureOptions): Promise<number[]> {
  const { settings, text, reporter } = options;
  reporter.stage(`Logits of ${arm.name}`);
  const onProgress = ({ fraction }: { fraction: number }) => reporter.progress(fraction);
  return (await arm.call('writeLogits', { text, positions: settings.qualityTokens, file }, { onProgress })).losses;
}

/** Writes down what points are compared with. Leaves the dense model loaded. */
async function openSession(options: MeasureOptions): Promise<Session> {
  const { settings, references, reporter } = options;
  const load = (precision: Precision) => {
    const name = `dense ${precision}`;
    reporter.stage(`Loading ${name}`);
    return open(options, specOf(options, { name, precision }));
  };
  let float32Losses: number[] | undefined;
  if (settings.precision !== 'float32') {
    const { arm } = await load('float32');
    try {
      float32Losses = await writeLogits(arm, references.float32, options);
    } finally {
      await arm.stop();
    }
  }
  const dense = await load(settings.precision);
  try {
    const losses = await writeLogits(dense.arm, float32Losses ? references.dense : references.float32, options);
    return { ...options, dense, float32Losses: float32Losses ?? losses };
  } catch (error) {
    await dense.arm.stop();
    throw error;
  }
}

/** What the point's decoding takes, and the dense model's beside it. */
async function measureTime(arm: ArmProcess, { dense, settings, reporter }: Session): Promise<SweepPoint['time']> {
  const isDense = arm === dense.arm;
  const arms = isDense ? [arm] : [dense.arm, arm];
  const samples = arms.map((): Sample[] => []);
  reporter.stage(`Timed runs of ${arm.name}`);
  await runTimed(arms, {
    prompts: settings.prompts.length,
    runs: settings.runs,
    warmup: settings.warmup,
    maxNewTokens: settings.maxNewTokens,
    onSample: (index, sample) => samples[index]?.push(sample),
    onProgress: reporter.progress,
  });
  const own = samples.at(-1) as Sample[];
  const timeOf = ({ timePerOutputTokenMs }: Sample) => timePerOutputTokenMs;
  return {
    timePerOutputTokenMs: summarize(own.map(timeOf)) as Summary,
    ...(!isDense && {
      decodeSpeedup: ratioOf(pairSamples(samples[0] as Sample[], own), (a, b) => timeOf(b) / timeOf(a)),
    }),
  };
}

function distanceOf({ divergences, agreements, losses, expectedLosses }: Divergences, seed: number): Distance {
  const differences = losses.map((loss, index) => loss - (expectedLosses[index] as number));
  return {
    klDivergence: bootstrapped(divergences, seed),
    topTokenAgreement: bootstrapped(agreements, seed),
    perplexityRatio: bootstrapped(differences, seed, Math.exp),
  };
}

const qualityOf = (near: Divergences, seed: number) => ({
  perplexity: bootstrapped(near.losses, seed, Math.exp),
  toFloat32: distanceOf(near, seed),
});

async function measureQuality(arm: ArmProcess, point: PlannedPoint, session: Session) {
  const { text, float32Losses: losses, references, reporter, settings } = session;
  const { precision, seed } = settings;
  if (point.kind === 'dense' && point.precision === 'float32') {
    const [divergences, agreements] = [0, 1].map((value) => losses.map(() => value)) as [number[], number[]];
    return qualityOf({ divergences, agreements, losses, expectedLosses: losses }, seed);
  }
  const files = [references.float32];
  if (point.kind === 'larosa' && precision !== 'float32') files.push(references.dense);
  reporter.stage(`Quality of ${arm.name}`);
  const onProgress = ({ fraction }: { fraction: number }) => reporter.progress(fraction);
  const input = { text, positions: losses.length, files };
  const [toFloat32, toDense] = await arm.call('compareLogits', input, { onProgress });
  return {
    ...qualityOf(toFloat32 as Divergences, seed),
    ...(toDense && { toDense: distanceOf(toDense, seed) }),
  };
}

async function measurePeer(point: PlannedPoint, target: PeerTarget, session: Session): Promise<SweepPoint> {
  const { reporter, dense, settings, text, float32Losses, references } = session;
  reporter.stage(`Settings of ${point.name}`);
  const maxNewTokens = Math.max(settings.maxNewTokens, windowTokensOf(session.reader));
  const options = { ...session, prompts: dense.report.promptTokens, maxNewTokens };
  const { arm, record } = await openPeer(target, options);
  try {
    const time = await measureTime(arm, session);
    reporter.stage(`Quality of ${point.name}`);
    const windows = windowsFor(session.reader, { text, positions: Math.min(float32Losses.length, peerPositions) });
    const { vocabularySize } = session.reader.graph.config;
    const onProgress = ({ fraction }: { fraction: number }) => reporter.progress(fraction);
    const input = { windows, file: references.float32, vocabularySize };
    const near = await arm.call('comparePeer', input, { onProgress, timeoutMs: peerPositions * patienceMs });
    const { package: from, version, quantization, file, setting } = record;
    return {
      ...point,
      ...{ package: from, version, quantization, file, setting: setting.name, time },
      ...qualityOf(near, settings.seed),
    };
  } finally {
    await arm.stop();
  }
}

async function measurePoint(point: PlannedPoint, session: Session): Promise<SweepPoint> {
  const { dense, reporter, peers } = session;
  const target = peers.get(point.name);
  if (target) return measurePeer(point, target, session);
  reporter.stage(`Loading ${point.name}`);
  const isDense = point.name === dense.arm.name;
  const { arm } = isDense ? dense : await open(session, specOf(session, point));
  try {
    const time = await measureTime(arm, session);
    return { ...point, ...(await measureQuality(arm, point, session)), time };
  } finally {
    if (!isDense) await arm.stop();
  }
}

/** Measures points one after the other; each is handed over before the next one begins. @throws what a point throws, LLMOPT_ABORTED */
export async function measurePoints(
  points: readonly PlannedPoint[],
  options: MeasureOptions,
  onPoint: (point: SweepPoint) => Promise<void>,
): Promise<void> {
  if (points.length === 0) return;
  const session = await openSession(options);
  try {
    for (const [index, point] of points.entries()) {
      options.reporter.note(`Point ${index + 1} of ${points.length}: ${point.name}`);
      await onPoint(await measurePoint(point, session));
    }
  } finally {
    await session.dense.arm.stop();
  }
}
