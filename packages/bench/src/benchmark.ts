import { stat } from 'node:fs/promises';
import { LlmoptError, resolveModel } from '@llmopt/core';
import type { BenchmarkResult } from '@llmopt/schema';
import { loadArm } from './arms/load.ts';
import { type ArmProcess, startArm } from './arms/parent.ts';
import type { LoadReport } from './arms/protocol.ts';
import type { ArmSpec, BackendSpec, PluginSpec } from './arms/spec.ts';
import { tryBackend } from './backends/probe.ts';
import { measureBandwidth } from './bandwidth.ts';
import { type BenchmarkOptions, readText, resolveOptions, type Settings } from './options.ts';
import { type Engine, findEngines, openPeer, type PeerTarget, targetsOf } from './peers/open.ts';
import { type Reporter, silentReporter } from './report/reporter.ts';
import { type ArmRecord, assembleResult, type BenchmarkRecord, type PeerRecord } from './result.ts';
import { runTimed } from './runner.ts';
import { assertFileWritable, assertFolderWritable, writeResult } from './write.ts';

/** What a run may be watched and stopped with. */
export interface BenchmarkControl {
  reporter?: Reporter;
  /** Ends the run: what was measured is written, marked incomplete, and the call rejects with LLMOPT_ABORTED. */
  signal?: AbortSignal;
}

interface Session extends Required<Pick<BenchmarkControl, 'reporter'>> {
  settings: Settings;
  signal: AbortSignal | undefined;
}

function backendSpec({ backend, threads, precision }: Settings): BackendSpec {
  switch (backend) {
    case 'wasm':
      return { name: backend, threads, precision };
    case 'onnx':
      return { name: backend, threads };
    default:
      return { name: backend };
  }
}

function armSpecs(backend: BackendSpec, settings: Settings, model: string): [ArmSpec, ArmSpec] {
  const { larosaSparsity, larosa, vattention } = settings;
  const plugins: PluginSpec[] = [{ name: 'larosa', options: { ...larosa, sparsity: larosaSparsity } }];
  // Every run has the same prompts: a run that goes on from the one before would read none of them.
  if (vattention) plugins.push({ name: 'vattention', options: { prefixReuse: false, ...vattention } });
  return [
    { name: 'baseline', model, backend, plugins: [] },
    { name: 'optimized', model, backend, plugins },
  ];
}

/** Packages and devices that a backend needs are looked for first of all. @throws what the backend throws without them */
async function assertWorks(backend: BackendSpec, { reporter, signal }: Session): Promise<void> {
  if (backend.name === 'wasm' || backend.name === 'reference') return;
  reporter.stage(`Trying the ${backend.name} backend`);
  const { notes } = await tryBackend(backend, signal);
  for (const note of notes) reporter.note(note);
}

async function collectResponses(
  arm: ArmProcess,
  { settings, reporter }: Session,
  record: ArmRecord | PeerRecord,
): Promise<void> {
  for (const [prompt, text] of settings.prompts.entries()) {
    reporter.progress(prompt / settings.prompts.length, arm.name);
    const report = await arm.call('run', { prompt, maxNewTokens: settings.maxNewTokens, ignoreEndToken: false });
    record.responses.push({ prompt: text, text: report.text });
  }
}

async function measureQuality(
  specs: [ArmSpec, ArmSpec],
  text: string,
  session: Session,
  record: BenchmarkRecord,
): Promise<void> {
  const { settings, reporter, signal } = session;
  const arm = startArm('quality', { signal });
  const [baseline, optimized] = specs;
  const { qualityTokens: maxTokens, seed } = settings;
  try {
    const onProgress = ({ stage, fraction }: { stage: string; fraction: number }) =>
      reporter.progress(stage === 'quality' ? fraction : 0, stage);
    record.quality = await arm.call('quality', { baseline, optimized, text, maxTokens, seed }, { onProgress });
  } finally {
    await arm.stop();
  }
}

/** Profiling slows an op down a little, so it has processes of its own, after all that is timed. */
async function measureProfile(spec: ArmSpec, session: Session, record: ArmRecord): Promise<void> {
  const { settings } = session;
  // The reference backend always keeps its times.
  const backend = spec.backend.name === 'wasm' ? { ...spec.backend, profile: true } : spec.backend;
  const { arm } = await loadArm({ ...spec, backend }, { ...session, ...settings });
  const request = { prompt: 0, maxNewTokens: settings.maxNewTokens, ignoreEndToken: true };
  try {
    await arm.call('run', request);
    record.profile = await arm.call('profile', { prompt: 0, steps: settings.maxNewTokens - 1 });
  } finally {
    await arm.stop();
  }
}

/** The arms of all engines that take part. */
async function peerTargets(
  engines: readonly Engine[],
  file: string,
  { model: { quantization } }: LoadReport,
  session: Session,
  record: BenchmarkRecord,
): Promise<PeerTarget[]> {
  const targets: PeerTarget[] = [];
  const isGguf = !/\.(safetensors|json)$/.test(file) && (await stat(file)).isFile();
  for (const engine of engines) {
    if (engine.name === 'node-llama-cpp' && !isGguf) {
      const { name, package: from } = engine;
      const reason = 'needs a GGUF file, and this model is in safetensors';
      record.skippedPeers.push({ name, package: from, reason });
      session.reporter.note(`${name}: ${reason}.`);
      continue;
    }
    session.reporter.stage(`Files for ${engine.name}`);
    targets.push(...(await targetsOf(engine, { file, quantization }, session)));
  }
  return targets;
}

/** A figure beside the others: where it cannot be had, the run goes on without it. */
async function bandwidthOrNote({ settings, signal, reporter }: Session): Promise<number | undefined> {
  reporter.stage('Memory bandwidth');
  try {
    const threads = settings.backend === 'reference' ? 1 : settings.threads;
    const { gigabytesPerSecond, disturbed } = await measureBandwidth(threads, signal);
    if (disturbed) reporter.note('Other processes were at work while the memory was measured.');
    return gigabytesPerSecond;
  } catch (error) {
    if (signal?.aborted) throw error;
    reporter.note(`The memory's bandwidth could not be measured. ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** All that takes time, in order. Whatever was measured is in `record` when it throws. */
async function measure(
  specs: [ArmSpec, ArmSpec],
  engines: readonly Engine[],
  text: string | undefined,
  session: Session,
  record: BenchmarkRecord,
): Promise<void> {
  const { settings, reporter } = session;
  const arms: ArmProcess[] = [];
  try {
    for (const spec of specs) {
      reporter.stage(`Loading ${spec.name}`);
      const { arm, report } = await loadArm(spec, { ...session, ...settings });
      arms.push(arm);
      record.arms.push({ load: report, samples: [], responses: [] });
    }
    const [{ load }] = record.arms as [ArmRecord];
    for (const target of await peerTargets(engines, specs[0].model, load, session, record)) {
      reporter.stage(`Settings of ${target.name}`);
      const options = { ...session, prompts: load.promptTokens, maxNewTokens: settings.maxNewTokens };
      const { arm, record: peer } = await openPeer(target, options);
      arms.push(arm);
      record.peers.push(peer);
    }
    const records = [...record.arms, ...record.peers];
    // First, since even a result that is cut short must have them; it also warms the arms up.
    reporter.stage('Responses');
    for (const [index, arm] of arms.entries()) await collectResponses(arm, session, records[index] as ArmRecord);
    reporter.stage('Timed runs');
    await runTimed(arms, {
      prompts: settings.prompts.length,
      runs: settings.runs,
      warmup: settings.warmup,
      maxNewTokens: settings.maxNewTokens,
      onSample: (arm, sample) => records[arm]?.samples.push(sample),
      onProgress: reporter.progress,
    });
  } finally {
    await Promise.all(arms.map((arm) => arm.stop()));
  }
  if (text !== undefined) {
    reporter.stage('Quality');
    await measureQuality(specs, text, session, record);
  }
  if (settings.profile) {
    for (const [index, spec] of specs.entries()) {
      reporter.stage(`Profile of ${spec.name}`);
      await measureProfile(spec, session, record.arms[index] as ArmRecord);
    }
  }
}

/**
 * Runs the model as it is and optimised, in processes of their own, and measures time, tokens, memory and quality.
 * Writes the result to `options.output` and the charts to `options.plots`, and returns the result. Nothing is run if
 * these could not be written. When an arm fails or the signal aborts, what was measured until then is written, marked
 * incomplete and without charts, and the error is thrown.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND, LLMOPT_WRITE_FAILED, LLMOPT_BENCH_FAILED, LLMOPT_ABORTED, and
 * what loading a model throws
 */
export async function runBenchmark(
  options: BenchmarkOptions = {},
  control: BenchmarkControl = {},
): Promise<BenchmarkResult> {
  const { reporter = silentReporter, signal } = control;
  const settings = resolveOptions(options);
  const backend = backendSpec(settings);
  const session: Session = { settings, signal, reporter };
  const engines = await findEngines(settings.peers);
  const text = settings.quality === false ? undefined : await readText(settings.quality);
  await assertFileWritable(settings.output);
  if (settings.plots !== false) await assertFolderWritable(settings.plots);

  const record: BenchmarkRecord = { settings, createdAt: new Date(), arms: [], peers: [], skippedPeers: [] };
  try {
    await assertWorks(backend, session);
    reporter.stage('Finding the model');
    const model = await resolveModel(settings.model, {
      onProgress: ({ stage, fraction }) => reporter.progress(fraction, stage),
      signal,
    });
    record.memoryBandwidthGBs = await bandwidthOrNote(session);
    await measure(armSpecs(backend, settings, model), engines, text, session, record);
  } catch (error) {
    reporter.end();
    const partial = assembleResult(record, { incomplete: true });
    if (partial) {
      await writeResult(settings.output, partial);
      reporter.note(`What was measured until then is in ${settings.output}, marked incomplete.`);
    }
    if (signal?.aborted && !(LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) {
      throw new LlmoptError('LLMOPT_ABORTED', 'The benchmark was interrupted.', { cause: error });
    }
    throw error;
  }
  const result = assembleResult(record, { incomplete: false }) as BenchmarkResult;
  await writeResult(settings.output, result);
  reporter.note(`The result is in ${settings.output}.`);
  if (settings.plots !== false) {
    reporter.stage('Charts');
    // Loaded only now: the chart libraries would take their time and memory from what is measured.
    const { renderCharts } = await import('@llmopt/viz');
    await renderCharts(result, settings.plots);
    reporter.note(`The charts are in ${settings.plots}.`);
  }
  reporter.end();
  return result;
}
