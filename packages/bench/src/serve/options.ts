import { availableParallelism } from 'node:os';
import { LlmoptError } from '@llmopt/core';
import type { PluginChoice } from '../arms/spec.ts';
import { type BenchmarkOptions, checkInteger, checkOneOf, resolveOptions, type Settings } from '../options.ts';
import type { PeerName } from '../peers/names.ts';
import { type PolicyName, policyNames } from './policies/names.ts';
import type { Arrivals } from './workload.ts';

/** What `runServe` may be told. Everything has a default. */
export interface ServeOptions
  extends Pick<BenchmarkOptions, 'model' | 'threads' | 'seed' | 'peers' | 'precision' | 'output' | 'plots'> {
  /** Requests in flight at once, at most: a replay for each. Default 1, 4, 8. */
  concurrency?: readonly number[];
  /** `closed` (default): a request comes as soon as an earlier one is done. `poisson:RATE`: so many per second, at random. */
  arrivals?: string;
  /** Requests of a replay. Default 32, or all of the trace. */
  requests?: number;
  /** A file with the requests, a JSON object per line; the seeded ones are written to it if it is not there. Default: none. */
  trace?: string;
  /** Ways to manage the KV cache. Default `fixed` and `vattention`. */
  policies?: readonly PolicyName[];
  /** What vattention is told. */
  vattention?: PluginChoice;
  /** Physical bytes for keys and values, which every policy keeps to. Default: all that is reserved. */
  kvBudgetBytes?: number;
  /** Type of keys and values. Default `float32`. */
  kv?: 'float32' | 'int16';
  /** Tokens that each slot is reserved for. Default: 4096, or what the model was trained for if that is less. */
  contextLength?: number;
  /** Sequences that the cache has slots for. Default: as many as requests may be in flight. */
  slots?: number;
  /** Tokens of every prompt. Default: short and long ones mixed. */
  promptTokens?: number;
  /** Tokens of every output. Default: short and long ones mixed. */
  newTokens?: number;
}

export type ServeSettings = Pick<Settings, 'model' | 'seed' | 'output' | 'plots'> &
  Pick<
    ServeOptions,
    'trace' | 'requests' | 'contextLength' | 'slots' | 'promptTokens' | 'newTokens' | 'kvBudgetBytes'
  > & {
    threads: number;
    precision: 'int8' | 'float32';
    kv: 'float32' | 'int16';
    peers: readonly PeerName[];
    concurrency: readonly number[];
    arrivals: Arrivals;
    policies: readonly PolicyName[];
    vattention: PluginChoice;
  };

const invalid = (message: string, hint: string) => new LlmoptError('LLMOPT_OPTION_INVALID', message, { hint });

function parseArrivals(text: string): Arrivals {
  if (text === 'closed') return text;
  const perSecond = Number(/^poisson:(.+)$/.exec(text)?.[1] ?? Number.NaN);
  if (perSecond > 0 && perSecond < 1e6) return { perSecond };
  throw invalid(`arrivals is '${text}'.`, 'Give closed, or poisson:RATE with the requests per second.');
}

/** Fills in the defaults and checks every value but those that are vattention's. @throws LLMOPT_OPTION_INVALID */
export function resolveServeOptions(options: ServeOptions = {}): ServeSettings {
  const { model, threads, seed, output, plots, precision, peers } = resolveOptions({
    ...{ model: options.model, threads: options.threads, seed: options.seed, plots: options.plots },
    ...{ peers: options.peers, precision: options.precision, output: options.output ?? 'serve.json' },
  });
  const { trace, requests, contextLength, slots, promptTokens, newTokens, kvBudgetBytes, vattention, kv } = options;
  const concurrency = [...new Set(options.concurrency ?? [1, 4, 8])];
  if (concurrency.length === 0) throw invalid('concurrency is empty.', 'Give at least one number.');
  for (const count of concurrency) checkInteger('concurrency', count, 1, 1024);
  const counts = { requests, contextLength, slots, promptTokens, newTokens };
  for (const [name, value] of Object.entries(counts)) {
    if (value !== undefined)
      checkInteger(name, value, name === 'newTokens' ? 2 : 1, name === 'slots' ? 1024 : 16_777_216);
  }
  if (kvBudgetBytes !== undefined && !(kvBudgetBytes > 0 && Number.isFinite(kvBudgetBytes))) {
    throw invalid(`kvBudgetBytes must be above 0, but is ${kvBudgetBytes}.`, 'Give a number such as 1e9.');
  }
  if (kv !== undefined) checkOneOf('kv', kv, ['float32', 'int16']);
  const policies = options.policies ?? (['fixed', 'vattention'] as const);
  if (policies.length === 0) throw invalid('policies is empty.', 'Give at least one.');
  for (const policy of policies) checkOneOf('policy', policy, policyNames);
  for (const peer of peers) {
    if (peer !== 'node-llama-cpp') throw invalid(`${peer} takes one request at a time.`, 'Give node-llama-cpp.');
  }
  return {
    ...{ model, seed, output, plots, peers, concurrency, trace, ...counts, kvBudgetBytes },
    threads: threads ?? Math.min(availableParallelism(), 64),
    precision: precision ?? 'int8',
    kv: kv ?? 'float32',
    arrivals: parseArrivals(options.arrivals ?? 'closed'),
    policies: [...new Set(policies)],
    vattention: vattention ?? {},
  };
}
