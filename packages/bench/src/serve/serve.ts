import { LlmoptError, resolveModel } from '@llmopt/core';
import type { ServeResult, ServeRun } from '@llmopt/schema';
import { loadArm } from '../arms/load.ts';
import type { LoadReport } from '../arms/protocol.ts';
import type { ArmSpec, PluginChoice, PluginSpec } from '../arms/spec.ts';
import type { BenchmarkControl } from '../benchmark.ts';
import { modelName } from '../modelName.ts';
import { findEngines, type PeerTarget, targetsOf } from '../peers/open.ts';
import { type Reporter, silentReporter } from '../report/reporter.ts';
import { systemFacts } from '../result.ts';
import { assertFileWritable, assertFolderWritable, writeJson } from '../write.ts';
import { figuresOf } from './figures.ts';
import { resolveServeOptions, type ServeOptions, type ServeSettings } from './options.ts';
import { servePeer } from './peer.ts';
import type { PolicyName } from './policies/names.ts';
import { requestsFor, type Workload } from './requests.ts';

interface Session {
  settings: ServeSettings;
  workload: Workload;
  /** Path of the model's file. */
  file: string;
  reporter: Reporter;
  signal: AbortSignal | undefined;
}

function pluginSpec(policy: PolicyName, { kvBudgetBytes, vattention }: ServeSettings): PluginSpec {
  const budget = { ...(kvBudgetBytes !== undefined && { budgetBytes: kvBudgetBytes }) };
  if (policy !== 'vattention') return { name: 'kv', policy, options: budget };
  const options: PluginChoice = { ...budget, ...vattention };
  return { name: policy, options };
}

async function servePolicy(
  policy: PolicyName,
  concurrency: number,
  { settings, workload, file, reporter, signal }: Session,
): Promise<{ run: ServeRun; load: LoadReport }> {
  const { threads, precision, kv, seed, slots = concurrency } = settings;
  const spec: ArmSpec = {
    name: policy,
    model: file,
    backend: { name: 'wasm', threads, precision, kv },
    plugins: [pluginSpec(policy, settings)],
    slots,
    contextLength: workload.contextLength,
  };
  reporter.stage(`${policy}, ${concurrency} at once`);
  const { arm, report: load } = await loadArm(spec, { prompts: [], maxNewTokens: 0, reporter, signal });
  try {
    const { requests, timed } = workload;
    const report = await arm.call(
      'serve',
      { requests, timed, concurrency },
      { onProgress: ({ fraction }) => reporter.progress(fraction, 'requests') },
    );
    const { loadSeconds } = load;
    return { load, run: figuresOf(report, { name: policy, kind: 'policy', concurrency, loadSeconds }, seed) };
  } finally {
    await arm.stop();
  }
}

function freshResult({ settings, workload }: Session, model: LoadReport['model'], threads: number): ServeResult {
  const { seed, precision, kv, kvBudgetBytes, vattention, policies, promptTokens, newTokens } = settings;
  return {
    kind: 'serve',
    schemaVersion: 1,
    createdAt: new Date().toISOString(),
    system: systemFacts(),
    model: { ...model, name: modelName(settings.model) },
    settings: {
      ...{ contextLength: workload.contextLength, requests: workload.requests.length, arrivals: workload.arrivals },
      ...{ seed, precision, kv, threads },
      ...(kvBudgetBytes !== undefined && { kvBudgetBytes }),
      ...(policies.includes('vattention') && { vattention }),
      ...(promptTokens !== undefined && { promptTokens }),
      ...(newTokens !== undefined && { newTokens }),
    },
    runs: [],
  };
}

/** Everything that takes time, in order. Whatever was measured is in the result that `onRun` got last. */
async function measure(
  session: Session,
  engines: Awaited<ReturnType<typeof findEngines>>,
  onResult: (result: ServeResult) => Promise<void>,
): Promise<ServeResult> {
  const { settings, file, reporter, signal } = session;
  let result: ServeResult | undefined;
  const add = async (run: ServeRun) => {
    (result as ServeResult).runs.push(run);
    await onResult(result as ServeResult);
  };
  let targets: PeerTarget[] | undefined;
  for (const concurrency of settings.concurrency) {
    for (const policy of settings.policies) {
      const { run, load } = await servePolicy(policy, concurrency, session);
      result ??= freshResult(session, load.model, settings.threads);
      await add(run);
    }
    if (engines.length === 0) continue;
    const { quantization } = (result as ServeResult).model;
    targets ??= (
      await Promise.all(engines.map((engine) => targetsOf(engine, { file, quantization }, { reporter, signal })))
    ).flat();
    for (const target of targets) {
      reporter.stage(`${target.name}, ${concurrency} at once`);
      await add(await servePeer(target, concurrency, session));
    }
  }
  return result as ServeResult;
}

/**
 * Replays one workload under every policy and on every other engine, each in a process of its own, with each number of requests in flight. The
 * result is written to `options.output` as it grows, and `kv_memory.png` and `latency.png` to `options.plots`.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND, LLMOPT_PROMPT_TOO_LONG, LLMOPT_WRITE_FAILED, LLMOPT_BENCH_FAILED, LLMOPT_ABORTED,
 * and what loading a model throws
 */
export async function runServe(options: ServeOptions = {}, control: BenchmarkControl = {}): Promise<ServeResult> {
  const { reporter = silentReporter, signal } = control;
  const settings = resolveServeOptions(options);
  const { output, plots } = settings;
  const engines = await findEngines(settings.peers);
  await assertFileWritable(output);
  if (plots !== false) await assertFolderWritable(plots);
  try {
    reporter.stage('Finding the model');
    const onProgress = ({ stage, fraction }: { stage: string; fraction: number }) => reporter.progress(fraction, stage);
    const file = await resolveModel(settings.model, { onProgress, signal });
    const workload = await requestsFor(file, settings);
    const session = { settings, workload, file, reporter, signal };
    const result = await measure(session, engines, (partial) => writeJson(output, { ...partial, incomplete: true }));
    await writeJson(output, result);
    reporter.note(`The result is in ${output}.`);
    if (plots !== false) {
      reporter.stage('Charts');
      const { renderServe } = await import('@llmopt/viz');
      await renderServe(result, plots);
      reporter.note(`The charts are in ${plots}.`);
    }
    return result;
  } catch (error) {
    if (!signal?.aborted || (LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) throw error;
    throw new LlmoptError('LLMOPT_ABORTED', 'The replay was interrupted.', { cause: error });
  } finally {
    reporter.end();
  }
}
