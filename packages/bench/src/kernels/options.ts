import { LlmoptError } from '@llmopt/core';
import { type ShapeName, shapes } from './shapes.ts';

/** What `runKernels` may be told. Everything has a default. */
export interface KernelsOptions {
  /** A path to a GGUF file or a name from the catalogue. Default `smollm2-135m`, unless there is a shape. */
  model?: string;
  /** A model with random weights of this shape instead. */
  shape?: ShapeName;
  /** Default: the backend's choice. */
  threads?: number;
  /** Batch sizes to compare with a single row, which is always measured. Default 1, 2, 3, 8, or those of them that fit into memory. */
  rows?: readonly number[];
  /** Tokens in the cache while decoding. Default 128. */
  prompt?: number;
  /** Sparsities of LaRoSA to compare with the dense model. Default: none. */
  larosa?: readonly number[];
  /** Measurements of everything that is compared. Default 15. */
  rounds?: number;
  /** Where the result is written. Default `kernels.json`. */
  output?: string;
}

export type KernelsSettings = Required<Omit<KernelsOptions, 'model' | 'shape' | 'threads'>> & {
  subject: { model: string } | { shape: ShapeName };
  threads: number | undefined;
  /** So many of the rows must fit into memory. */
  leastRows: number;
};

const invalid = (message: string, hint: string) => new LlmoptError('LLMOPT_OPTION_INVALID', message, { hint });

function checkInteger(name: string, value: number, low: number, high: number): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw invalid(`${name} must be a whole number from ${low} to ${high}, but is ${value}.`, 'Give another value.');
}

/** Fills in the defaults and checks every value. @throws LLMOPT_OPTION_INVALID */
export function resolveKernelsOptions(options: KernelsOptions = {}): KernelsSettings {
  const { model, shape, threads, prompt = 128, rounds = 15, output = 'kernels.json' } = options;
  if (model !== undefined && shape !== undefined) {
    throw invalid('model and shape contradict each other.', 'Give one of the two.');
  }
  if (shape !== undefined && !Object.hasOwn(shapes, shape)) {
    throw invalid(`shape must be one of ${Object.keys(shapes).join(', ')}, but is '${shape}'.`, 'Give one of these.');
  }
  for (const [name, text] of Object.entries({ model, output })) {
    if (text?.trim() === '') throw invalid(`${name} is empty.`, 'Give it a value.');
  }
  if (threads !== undefined) checkInteger('threads', threads, 1, 64);
  checkInteger('prompt', prompt, 1, 100_000);
  checkInteger('rounds', rounds, 1, 10_000);
  const rows = [...new Set([1, ...(options.rows ?? [2, 3, 8])])].sort((a, b) => a - b);
  for (const count of rows) checkInteger('rows', count, 1, 128);
  const larosa = [...new Set(options.larosa)];
  for (const sparsity of larosa) {
    if (!(sparsity >= 0 && sparsity < 1)) {
      throw invalid(`larosa must be at least 0 and below 1, but is ${sparsity}.`, 'Give shares such as 0.4.');
    }
  }
  const subject = shape === undefined ? { model: model ?? 'smollm2-135m' } : { shape };
  const leastRows = options.rows === undefined ? 1 : Math.max(...rows);
  return { subject, threads, prompt, rounds, output, rows, leastRows, larosa };
}
