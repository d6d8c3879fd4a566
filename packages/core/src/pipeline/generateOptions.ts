import type { SamplingDefaults } from '../checkpoint/generationConfig.ts';
import { LlmoptError } from '../errors.ts';
import type { GenerateOptions } from './types.ts';

const ranges: Partial<Record<keyof GenerateOptions, { from: number; to: number; whole?: boolean }>> = {
  temperature: { from: 0, to: 100 },
  topK: { from: 0, to: Number.MAX_SAFE_INTEGER, whole: true },
  topP: { from: Number.MIN_VALUE, to: 1 },
  minP: { from: 0, to: 1 },
  repetitionPenalty: { from: 0.01, to: 100 },
  seed: { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER, whole: true },
  maxNewTokens: { from: 1, to: Number.MAX_SAFE_INTEGER, whole: true },
  logProbs: { from: 0, to: 1000, whole: true },
};

const others = ['stop', 'ignoreEndToken', 'signal'];

/** @throws LLMOPT_OPTION_INVALID naming the option, its value and what is allowed */
export function checkGenerateOptions(options: GenerateOptions): void {
  for (const [name, value] of Object.entries(options)) {
    const range = ranges[name as keyof GenerateOptions];
    if (value === undefined || others.includes(name)) continue;
    if (!range)
      throw invalid(`There is no option "${name}".`, `Options: ${[...Object.keys(ranges), ...others].join(', ')}.`);
    if (
      typeof value !== 'number' ||
      !(value >= range.from && value <= range.to) ||
      (range.whole && !Number.isInteger(value))
    ) {
      throw invalid(
        `${name} is ${JSON.stringify(value)}; ${range.whole ? 'a whole number' : 'a number'} from ${range.from} to ${range.to} is allowed.`,
      );
    }
  }
  if (
    options.stop !== undefined &&
    !(Array.isArray(options.stop) && options.stop.every((stop) => typeof stop === 'string' && stop !== ''))
  ) {
    throw invalid('stop must be an array of strings that are not empty.');
  }
}

/** The options, and the model's own where they say nothing. */
export function withDefaults(options: GenerateOptions, defaults: SamplingDefaults): GenerateOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(given) };
}

const invalid = (message: string, hint?: string) =>
  new LlmoptError('LLMOPT_OPTION_INVALID', message, hint ? { hint } : {});
