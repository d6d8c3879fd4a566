import { availableParallelism } from 'node:os';
import { LlmoptError } from '@llmopt/core';
import type { LarosaChoice } from '../arms/spec.ts';
import { type BenchmarkOptions, resolveOptions, type Settings } from '../options.ts';
import type { PeerName } from '../peers/names.ts';
import { methodName } from './methods.ts';
import type { Precision } from './weightBytes.ts';

/** What `runSweep` may be told. Everything has a default. */
export interface SweepOptions
  extends Pick<
    BenchmarkOptions,
    'model' | 'prompts' | 'warmup' | 'threads' | 'seed' | 'peers' | 'precision' | 'output' | 'plots'
  > {
  /** Sparsities of every method. Default 0, 0.25, 0.4, 0.5, 0.6, or none where `equalBytes` is given. */
  sparsities?: readonly number[];
  /** For every method also the sparsity at which it reads as many weight bytes as un-rotated Top-K at each of these. Default: none. */
  equalBytes?: readonly number[];
  /** What larosa is told beside the sparsity. Default: nothing. */
  methods?: readonly { name?: string; options: LarosaChoice }[];
  /** A text file to measure quality on. Default: the text that comes with the package. */
  text?: string;
  /** Positions of that text to compare at, at most. Default 20,000. */
  qualityTokens?: number;
  /** Tokens that every timed run generates. Default 64. */
  maxNewTokens?: number;
  /** Timed runs of every prompt. Default 3. */
  runs?: number;
}

/** What larosa is told beside the sparsity, and how its line in the chart is called. */
export interface Method {
  name: string;
  options: LarosaChoice;
}

export type SweepSettings = Pick<
  Settings,
  'model' | 'prompts' | 'warmup' | 'seed' | 'output' | 'plots' | 'maxNewTokens' | 'runs' | 'qualityTokens'
> & {
  threads: number;
  precision: Precision;
  peers: readonly PeerName[];
  text: string;
  sparsities: readonly number[];
  equalBytes: readonly number[];
  methods: readonly Method[];
};

const invalid = (message: string, hint: string) => new LlmoptError('LLMOPT_OPTION_INVALID', message, { hint });
const mostThreads = 64;

function checkShares(name: string, shares: readonly number[]): void {
  const wrong = shares.find((share) => !(share >= 0 && share < 1));
  if (wrong === undefined) return;
  throw invalid(`${name} must be at least 0 and below 1, but is ${wrong}.`, 'Give shares such as 0.25,0.4.');
}

/** Fills in the defaults and checks every value but those that are larosa's. @throws LLMOPT_OPTION_INVALID */
export function resolveSweepOptions(options: SweepOptions = {}): SweepSettings {
  const { text, equalBytes = [] } = options;
  const resolved = resolveOptions({
    ...options,
    maxNewTokens: options.maxNewTokens ?? 64,
    runs: options.runs ?? 3,
    quality: text,
    qualityTokens: options.qualityTokens ?? 20_000,
    output: options.output ?? 'sweep.json',
  });
  const sparsities = options.sparsities ?? (equalBytes.length > 0 ? [] : [0, 0.25, 0.4, 0.5, 0.6]);
  checkShares('larosaSparsity', sparsities);
  checkShares('equalBytes', equalBytes);
  const methods = (options.methods ?? [{ options: {} }]).map(({ name, options: choice }) => {
    if ('sparsity' in choice) throw invalid('A method has a sparsity.', 'Give sparsities on their own.');
    return { name: name ?? methodName(choice), options: choice };
  });
  const names = methods.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw invalid(`Two methods are called '${twice}'.`, 'Give each a name of its own.');
  for (const peer of resolved.peers) {
    if (peer !== 'node-llama-cpp') throw invalid(`A sweep cannot measure the peer ${peer}.`, 'Give node-llama-cpp.');
  }
  const { model, prompts, warmup, seed, output, plots, maxNewTokens, runs, qualityTokens, peers } = resolved;
  return {
    ...{ model, prompts, warmup, seed, output, plots, maxNewTokens, runs, qualityTokens, peers },
    threads: resolved.threads ?? Math.min(availableParallelism(), mostThreads),
    precision: resolved.precision ?? 'int8',
    text: resolved.quality as string,
    sparsities: [...new Set(sparsities)],
    equalBytes: [...new Set(equalBytes)],
    methods,
  };
}
