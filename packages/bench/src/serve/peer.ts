import { LlmoptError } from '@llmopt/core';
import type { ServeRun } from '@llmopt/schema';
import type { Measure } from '../peers/calibrate.ts';
import { openPeer, type PeerTarget } from '../peers/open.ts';
import type { Reporter } from '../report/reporter.ts';
import { decodeStretches, figuresOf, rateOf } from './figures.ts';
import type { ServeSettings } from './options.ts';
import type { Workload } from './requests.ts';

/** With which settings are tried: tokens of a prompt, at most, and of an output. */
const trial = { promptTokens: 64, newTokens: 32 };
/** A replay is given up after this many times the time that it should take, and not before `leastMs`. */
const patience = 20;
const leastMs = 120_000;

/** As many requests at once as there are sequences: the setting is to be the best for them, not for a single one. */
function trialOf({ requests }: Workload, concurrency: number): Measure {
  const { prompt } = requests.reduce((longest, next) => (next.prompt.length > longest.prompt.length ? next : longest));
  const request = { atMs: 0, prompt: prompt.slice(0, trial.promptTokens), newTokens: trial.newTokens };
  const input = { requests: Array.from({ length: concurrency }, () => request), timed: false, concurrency };
  return async (arm, timeLeft) => {
    const { records } = await arm.call('serve', input, timeLeft());
    const failure = records.find((record) => record.failure !== undefined)?.failure;
    if (failure !== undefined) throw new LlmoptError('LLMOPT_BENCH_FAILED', failure);
    const readMs = Math.max(...records.map(({ tokenTimesMs }) => tokenTimesMs[0] as number));
    return {
      decodeTokensPerSecond: rateOf(decodeStretches(records, concurrency), 0)?.mean ?? 0,
      prefillTokensPerSecond: (concurrency * request.prompt.length) / (readMs / 1000),
    };
  };
}

/** The workload on another engine, with the setting that decodes fastest with so many sequences. @throws LLMOPT_BENCH_FAILED, LLMOPT_ABORTED */
export async function servePeer(
  target: PeerTarget,
  concurrency: number,
  session: { settings: ServeSettings; workload: Workload; reporter: Reporter; signal: AbortSignal | undefined },
): Promise<ServeRun> {
  const { settings, workload, reporter, signal } = session;
  const { requests, timed, contextLength } = workload;
  const { arm, record } = await openPeer(target, {
    prompts: requests.map(({ prompt }) => prompt),
    maxNewTokens: Math.max(...requests.map(({ newTokens }) => newTokens)),
    sequences: concurrency,
    contextLength,
    measure: trialOf(workload, concurrency),
    reporter,
    signal,
  });
  try {
    const { decodeTokensPerSecond, prefillTokensPerSecond } = record.calibration.decode;
    const sum = (of: (request: Workload['requests'][number]) => number) =>
      requests.reduce((total, request) => total + of(request), 0);
    const seconds =
      sum(({ prompt }) => prompt.length) / prefillTokensPerSecond +
      sum(({ newTokens }) => newTokens) / decodeTokensPerSecond;
    const lastMs = timed ? Math.max(...requests.map(({ atMs }) => atMs)) : 0;
    const report = await arm.call(
      'serve',
      { requests, timed, concurrency },
      {
        timeoutMs: Math.max(leastMs, patience * (seconds * 1000 + lastMs)),
        onProgress: ({ fraction }) => reporter.progress(fraction, 'requests'),
      },
    );
    const { name, load, setting, version, quantization } = record;
    const about = { name, kind: 'peer' as const, concurrency, loadSeconds: load.loadSeconds };
    return {
      ...figuresOf(report, about, settings.seed),
      version,
      quantization,
      settings: { ...load.settings, name: setting.name },
    };
  } finally {
    await arm.stop();
  }
}
