import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import { LlmoptError } from '@llmopt/core';
import type { ArmProcess } from '../arms/parent.ts';
import { median } from '../statistics/summary.ts';
import type { PeerLoad, PeerSetting } from './protocol.ts';

/** Requests per setting. */
const requests = 3;
/** Tokens that each of them generates. */
export const calibrationTokens = 48;
/** How long the first setting may take, and any other one at least. */
const patienceMs = 300_000;
const leastMs = 10_000;
/** A setting that takes this many times as long as the first one is not the best. */
const slowest = 3;

/** A setting that was tried, and how fast it was, or why it was not. */
export interface SettingTried {
  setting: PeerSetting;
  decodeTokensPerSecond?: number;
  prefillTokensPerSecond?: number;
  failure?: string;
}

export interface Calibration {
  tried: SettingTried[];
  /** The setting with the fastest decoding, and the one with the fastest prefill. */
  decode: Required<Omit<SettingTried, 'failure'>>;
  prefill: Required<Omit<SettingTried, 'failure'>>;
}

/** What an arm reaches with a setting, in tokens per second. */
export type Measure = (
  arm: ArmProcess,
  timeLeft: () => { timeoutMs: number },
) => Promise<Required<Pick<SettingTried, 'decodeTokensPerSecond' | 'prefillTokensPerSecond'>>>;

export interface CalibrationOptions {
  /** What the arm is called. */
  name: string;
  /** Starts a process of its own for a setting, since a setting may hang. */
  start: (setting: PeerSetting) => ArmProcess;
  load: Omit<PeerLoad, 'setting'>;
  /** Default: the middle one of three requests of 48 tokens behind the longest prompt. */
  measure?: Measure | undefined;
  /** Default: all of the machine. */
  cores?: number;
  /** Whether the engine computes on Node's pool, whose size then matters. Default true. */
  usesPool?: boolean;
  /** Milliseconds that the first setting may take, and any other one at least. */
  limits?: { patienceMs: number; leastMs: number };
  onProgress?: (fraction: number, setting: string) => void;
}

/**
 * Settings worth a try: one thread, all, the engine's choice; where several compute, also with a pool of one thread. All
 * of them on a machine that is busy may hang without it, so there it is tried in any case.
 */
function settingsFor(cores: number): { plain: PeerSetting; pooled?: PeerSetting; always?: boolean }[] {
  const pooled = (setting: PeerSetting): PeerSetting => ({
    ...setting,
    name: `${setting.name}, UV_THREADPOOL_SIZE=1`,
    poolThreads: 1,
  });
  const one: PeerSetting = { name: '1 thread', threads: 1 };
  const all: PeerSetting = { name: `${cores} threads`, threads: cores };
  const own: PeerSetting = { name: 'default' };
  return [
    { plain: one },
    ...(cores > 1 ? [{ plain: all, pooled: pooled(all), always: true }] : []),
    { plain: own, pooled: pooled(own) },
  ];
}

const threeRequests =
  ({ prompts }: CalibrationOptions['load']): Measure =>
  async (arm, timeLeft) => {
    const lengths = prompts.map(({ length }) => length);
    const prompt = lengths.indexOf(Math.max(...lengths));
    const request = { prompt, maxNewTokens: calibrationTokens, ignoreEndToken: true };
    const decode: number[] = [];
    const prefill: number[] = [];
    for (let index = 0; index < requests; index++) {
      const { timings } = await arm.call('run', request, timeLeft());
      decode.push(1000 / timings.timePerOutputTokenMs);
      prefill.push(timings.prefillTokensPerSecond);
    }
    return { decodeTokensPerSecond: median(decode), prefillTokensPerSecond: median(prefill) };
  };

async function tryOut(setting: PeerSetting, options: CalibrationOptions, limitMs: number): Promise<SettingTried> {
  const { load, measure = threeRequests(load) } = options;
  const arm = options.start(setting);
  const end = performance.now() + limitMs;
  const timeLeft = () => ({ timeoutMs: Math.max(1, end - performance.now()) });
  try {
    await arm.call('loadPeer', { ...load, setting }, timeLeft());
    return { setting, ...(await measure(arm, timeLeft)) };
  } catch (error) {
    if (!LlmoptError.isInstance(error) || error.code === 'LLMOPT_ABORTED') throw error;
    return { setting, failure: error.message };
  } finally {
    await arm.stop();
  }
}

/**
 * Finds the setting with which an engine decodes fastest: each is tried in a process of its own. One that takes far longer than a single thread is given up.
 * @throws LLMOPT_BENCH_FAILED if no setting works, LLMOPT_ABORTED
 */
export async function calibrate(options: CalibrationOptions): Promise<Calibration> {
  const { name, cores = availableParallelism(), usesPool = true } = options;
  const { limits = { patienceMs, leastMs }, onProgress } = options;
  const candidates = settingsFor(cores);
  const tried: SettingTried[] = [];
  let limitMs = limits.patienceMs;
  const attempt = async (setting: PeerSetting) => {
    onProgress?.(tried.length / (2 * candidates.length - 1), setting.name);
    const began = performance.now();
    const result = await tryOut(setting, options, limitMs);
    if (tried.length === 0 && !result.failure) {
      limitMs = Math.max(limits.leastMs, slowest * (performance.now() - began));
    }
    tried.push(result);
    return result;
  };
  for (const { plain, pooled, always = false } of candidates) {
    const { failure } = await attempt(plain);
    if (usesPool && pooled && (always || failure === undefined)) await attempt(pooled);
  }
  const working = tried.filter((result): result is Calibration['decode'] => result.failure === undefined);
  const [first, ...others] = working;
  if (!first) {
    throw new LlmoptError('LLMOPT_BENCH_FAILED', `${name} works with no setting:`, {
      problems: tried.map(({ setting, failure }) => `${setting.name}: ${failure}`),
      where: { arm: name },
    });
  }
  const fastest = (of: 'decodeTokensPerSecond' | 'prefillTokensPerSecond') =>
    others.reduce((best, result) => (result[of] > best[of] ? result : best), first);
  return { tried, decode: fastest('decodeTokensPerSecond'), prefill: fastest('prefillTokensPerSecond') };
}
