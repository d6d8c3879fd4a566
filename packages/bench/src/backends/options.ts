import { LlmoptError } from '@llmopt/core';
import { type BenchmarkOptions, resolveOptions, type Settings } from '../options.ts';

/** What `runBackends` may be told. Everything has a default. */
export interface BackendsOptions
  extends Pick<BenchmarkOptions, 'model' | 'prompts' | 'warmup' | 'threads' | 'seed' | 'output'> {
  /** Run every backend with LaRoSA at this sparsity. Default: without. */
  larosaSparsity?: number;
  /** Tokens that every timed run generates. Default 64. */
  maxNewTokens?: number;
  /** Timed runs of every prompt. Default 3. */
  runs?: number;
  /** A text file to compare the backends on. Default: the text that comes with the package. */
  quality?: string;
  /** Positions of that text to compare at, at most. Default 256. */
  qualityTokens?: number;
  /** A backend whose requests would take longer gets fewer tokens, and is not paired with the others. In seconds. Default 10. */
  requestSeconds?: number;
}

export type BackendsSettings = Pick<
  Settings,
  'model' | 'prompts' | 'warmup' | 'threads' | 'seed' | 'output' | 'maxNewTokens' | 'runs' | 'qualityTokens'
> & { larosaSparsity: number | undefined; quality: string; requestSeconds: number };

const invalid = (message: string, hint: string) => new LlmoptError('LLMOPT_OPTION_INVALID', message, { hint });

/** Logits of all of them go into a file: 200 kB each at a vocabulary of 50,000. */
const mostPositions = 4096;

/** Fills in the defaults and checks every value. @throws LLMOPT_OPTION_INVALID */
export function resolveBackendsOptions(options: BackendsOptions = {}): BackendsSettings {
  const { larosaSparsity, requestSeconds = 10, qualityTokens = 256 } = options;
  const settings = resolveOptions({
    ...options,
    maxNewTokens: options.maxNewTokens ?? 64,
    runs: options.runs ?? 3,
    qualityTokens,
    output: options.output ?? 'backends.json',
  });
  if (qualityTokens > mostPositions) {
    throw invalid(`qualityTokens must be at most ${mostPositions}, but is ${qualityTokens}.`, 'Give a smaller number.');
  }
  if (!(requestSeconds > 0 && requestSeconds <= 3600)) {
    throw invalid(
      `requestSeconds must be above 0 and at most 3600, but is ${requestSeconds}.`,
      'Give a time such as 10.',
    );
  }
  const { model, prompts, warmup, threads, seed, output, maxNewTokens, runs } = settings;
  return {
    ...{ model, prompts, warmup, threads, seed, output, maxNewTokens, runs, qualityTokens },
    ...{ larosaSparsity, requestSeconds, quality: settings.quality as string },
  };
}
