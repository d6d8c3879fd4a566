import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { LlmoptError } from '@llmopt/core';
import type { BackendName, LarosaChoice, PluginChoice } from './arms/spec.ts';
import { type PeerName, peerNames } from './peers/names.ts';

/** What a benchmark may be told. Everything has a default. */
export interface BenchmarkOptions {
  /** A path to a GGUF file or a name from the catalogue. Default `smollm2-135m`. */
  model?: string;
  /** Share of each projection's inputs that the optimised arm drops, from 0 to below 1. Default 0.4. */
  larosaSparsity?: number;
  /** What else the optimised arm's larosa is told. Default: nothing. */
  larosa?: LarosaChoice;
  /** What the optimised arm's vattention is told; `{}` for its defaults, but that prefixes are not used again. Default: no vattention. */
  vattention?: PluginChoice | undefined;
  /** Texts to continue. Default: four built-in ones. */
  prompts?: readonly string[];
  /** Tokens that every timed run generates. Default 128. */
  maxNewTokens?: number;
  /** Timed runs of every prompt on every arm. Default 5. */
  runs?: number;
  /** Rounds over all prompts before the timed ones; they are dropped. Default 1. */
  warmup?: number;
  /** Threads per arm, on the backends wasm and onnx. Default: one per core. */
  threads?: number;
  /** Seed of the resampling that gives quality its intervals. Default 0. */
  seed?: number;
  /** What computes. `gpu` and `onnx` need packages of their own, see `@llmopt/core`. Default `wasm`. */
  backend?: BackendName;
  /** Weights of the wasm backend. Default `int8`. */
  precision?: 'int8' | 'float32';
  /** A text file to measure quality on; `false` measures none. Default: the text that comes with the package. */
  quality?: string | false;
  /** Tokens of that text to use, at most. Default 4096, on the backends gpu and reference 512. */
  qualityTokens?: number;
  /** Other engines to measure beside the two arms, in the same pairs. Default: none. */
  peers?: readonly PeerName[];
  /** Also measure the time per op kind and layer, in a pass of its own. Default false. */
  profile?: boolean;
  /** Where the result is written. Default `benchmark_results.json`. */
  output?: string;
  /** Folder for the charts; `false` draws none. Default `benchmark_plots`. */
  plots?: string | false;
}

/** `BenchmarkOptions` with every default filled in and every value checked. */
export type Settings = Required<Omit<BenchmarkOptions, 'threads' | 'precision' | 'vattention'>> &
  Pick<BenchmarkOptions, 'threads' | 'precision' | 'vattention'>;

const backendNames: readonly BackendName[] = ['wasm', 'reference', 'gpu', 'onnx'];

/** Short tasks of different kinds: an explanation, a story, code, and a letter. */
export const defaultPrompts: readonly string[] = [
  'Explain in simple words why the sky is blue during the day and red in the evening.',
  'Write a short story about a lighthouse keeper who finds a message in a bottle.',
  'Write a JavaScript function that returns the n-th Fibonacci number, and explain how it works.',
  'Write a polite letter to the city council asking for a safer crossing in front of the school.',
];

/** The text that quality is measured on unless another one is given. Lies beside `src` and `dist`. */
export const bundledQualityText = fileURLToPath(new URL('../data/quality.txt', import.meta.url));

function invalid(message: string, hint: string): LlmoptError {
  return new LlmoptError('LLMOPT_OPTION_INVALID', message, { hint });
}

export function checkInteger(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw invalid(`${name} must be a whole number from ${low} to ${high}, but is ${value}.`, 'Give another value.');
}

export function checkOneOf(name: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw invalid(`${name} must be one of ${allowed.join(', ')}, but is '${value}'.`, 'Give one of these.');
}

/**
 * Fills in the defaults and checks every value.
 * @throws LLMOPT_OPTION_INVALID naming the option, its value and what is allowed.
 */
export function resolveOptions(options: BenchmarkOptions = {}): Settings {
  const backend = options.backend ?? 'wasm';
  checkOneOf('backend', backend, backendNames);
  if (options.precision !== undefined) checkOneOf('precision', options.precision, ['int8', 'float32']);
  if (backend !== 'wasm' && options.precision === 'int8') {
    throw invalid(
      `precision int8 is not available on the ${backend} backend, which computes in float32.`,
      'Leave it out.',
    );
  }
  const slow = backend === 'reference' || backend === 'gpu';
  if (slow && options.threads !== undefined) {
    throw invalid(`threads cannot be set on the ${backend} backend.`, 'Leave it out.');
  }
  if (options.profile && (backend === 'gpu' || backend === 'onnx')) {
    throw invalid(`profile is not available on the ${backend} backend, which keeps no times of ops.`, 'Leave it out.');
  }
  const settings: Settings = {
    model: options.model ?? 'smollm2-135m',
    larosaSparsity: options.larosaSparsity ?? 0.4,
    larosa: options.larosa ?? {},
    vattention: options.vattention,
    prompts: options.prompts ?? defaultPrompts,
    maxNewTokens: options.maxNewTokens ?? 128,
    runs: options.runs ?? 5,
    warmup: options.warmup ?? 1,
    threads: options.threads,
    seed: options.seed ?? 0,
    backend,
    precision: backend === 'wasm' ? (options.precision ?? 'int8') : undefined,
    quality: options.quality ?? bundledQualityText,
    qualityTokens: options.qualityTokens ?? (slow ? 512 : 4096),
    peers: [...new Set(options.peers)],
    profile: options.profile ?? false,
    output: options.output ?? 'benchmark_results.json',
    plots: options.plots ?? 'benchmark_plots',
  };
  const { larosaSparsity } = settings;
  if (!(larosaSparsity >= 0 && larosaSparsity < 1)) {
    throw invalid(
      `larosaSparsity must be at least 0 and below 1, but is ${larosaSparsity}.`,
      'Give a share such as 0.4.',
    );
  }
  for (const name of settings.peers) checkOneOf('peers', name, peerNames);
  checkInteger('maxNewTokens', settings.maxNewTokens, 2, 1_000_000);
  checkInteger('runs', settings.runs, 1, 10_000);
  checkInteger('warmup', settings.warmup, 0, 1_000);
  checkInteger('seed', settings.seed, 0, 2 ** 32 - 1);
  checkInteger('qualityTokens', settings.qualityTokens, 2, 10_000_000);
  if (settings.threads !== undefined) checkInteger('threads', settings.threads, 1, 64);
  for (const name of ['model', 'output'] as const) {
    if (settings[name].trim() === '') throw invalid(`${name} is empty.`, 'Give it a value.');
  }
  if (settings.prompts.length === 0) throw invalid('There is no prompt.', 'Give at least one.');
  const blank = settings.prompts.findIndex((prompt) => prompt.trim() === '');
  if (blank >= 0) throw invalid(`Prompt ${blank + 1} is empty.`, 'Write something in it, or remove it.');
  return settings;
}

/**
 * The prompts in a file: a JSON array of strings if its name ends in `.json`, else one per line that is not blank.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_OPTION_INVALID
 */
export async function readPrompts(path: string): Promise<string[]> {
  const text = await readText(path);
  if (!path.endsWith('.json')) {
    const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
    if (lines.length === 0) throw invalid(`The prompts file ${path} holds no prompt.`, 'Write one per line.');
    return lines;
  }
  const parsed = ((): unknown => {
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `The prompts file ${path} is not valid JSON: ${String(cause)}.`, {
        hint: 'Write an array of strings.',
        cause,
      });
    }
  })();
  if (!Array.isArray(parsed) || parsed.length === 0 || !parsed.every((prompt) => typeof prompt === 'string')) {
    throw invalid(`The prompts file ${path} is not an array of strings.`, 'Write it like ["first", "second"].');
  }
  return parsed;
}

/** A text file of the user. @throws LLMOPT_FILE_NOT_FOUND */
export async function readText(path: string): Promise<string> {
  try {
    return (await readFile(path, 'utf8')).replace(/^\uFEFF/, '');
  } catch (cause) {
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} cannot be read.`, {
      hint: 'Check the path.',
      where: { path },
      cause,
    });
  }
}
