import { join } from 'node:path';
import { LlmoptError } from '../errors.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type JsonObject, readJsonObjectIfThere } from './json.ts';

/** How a model is to be sampled from when the user does not say; fields as in the options of a generation. */
export interface SamplingDefaults {
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** What a model's files say of generation. */
export interface GenerationConfig {
  /** Tokens that end a generation; undefined when neither `generation_config.json` nor `config.json` names any. */
  readonly eosTokens: readonly number[] | undefined;
  readonly sampling: SamplingDefaults;
}

/**
 * Reads `generation_config.json` beside the weights, as transformers understands it: without `do_sample` generation is
 * greedy whatever else it says, with it `temperature` is 1 and `top_k` 50 where nothing is said. Without that file the end
 * tokens are those of `config.json`. GGUF files say nothing of this.
 * @throws LLMOPT_JSON_INVALID, LLMOPT_METADATA_INVALID
 */
export async function readGenerationConfig({ format, path, metadata }: Checkpoint): Promise<GenerationConfig> {
  if (format !== 'safetensors') return { eosTokens: undefined, sampling: {} };
  const file = join(path, 'generation_config.json');
  const config = (await readJsonObjectIfThere(file))?.value ?? {};
  const eos = config.eos_token_id ?? metadata.get('eos_token_id');
  return { eosTokens: eos === undefined ? undefined : tokenList(file, eos), sampling: samplingDefaults(file, config) };
}

function invalid(file: string, field: string, value: unknown, expected: string): LlmoptError {
  return new LlmoptError(
    'LLMOPT_METADATA_INVALID',
    `"${field}" of ${file} is ${JSON.stringify(value)}; ${expected} was expected.`,
    { where: { file, field }, hint: 'Correct the file, or download it again.' },
  );
}

function tokenList(file: string, value: unknown): number[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.every((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0)) return list;
  throw invalid(file, 'eos_token_id', value, 'a token id, or a list of them,');
}

function samplingDefaults(file: string, config: JsonObject): SamplingDefaults {
  function number(field: string, from: number, to: number): number | undefined {
    const value = config[field] ?? undefined;
    if (value === undefined || (typeof value === 'number' && value >= from && value <= to)) return value;
    throw invalid(file, field, value, `a number from ${from} to ${to}`);
  }
  const { do_sample: sample = false } = config;
  if (sample !== null && typeof sample !== 'boolean') throw invalid(file, 'do_sample', sample, 'true or false');
  const repetitionPenalty = number('repetition_penalty', 0.01, 100);
  const topK = number('top_k', 0, Number.MAX_SAFE_INTEGER);
  if (topK !== undefined && !Number.isInteger(topK)) throw invalid(file, 'top_k', topK, 'a whole number');
  const sampled = {
    temperature: number('temperature', 0, 100) ?? 1,
    topK: topK ?? 50,
    topP: number('top_p', Number.MIN_VALUE, 1) ?? 1,
    minP: number('min_p', 0, 1) ?? 0,
  };
  return { ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }), ...(sample ? sampled : {}) };
}
