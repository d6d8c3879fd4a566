import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../../checkpoint/checkpoint.ts';
import { readGenerationConfig } from '../../checkpoint/generationConfig.ts';
import { isJsonObject, type JsonObject, readJsonObject, readJsonObjectIfThere } from '../../checkpoint/json.ts';
import { LlmoptError } from '../../errors.ts';

/** What the files beside the weights say of the tokenizer. */
export interface TokenizerFiles {
  /** Path of tokenizer.json, for messages. */
  readonly file: string;
  /** What tokenizer.json holds. */
  readonly tokenizer: JsonObject;
  /** What tokenizer_config.json holds, and special_tokens_map.json where it is silent. */
  readonly config: JsonObject;
  readonly chatTemplate: string | undefined;
  readonly eosTokens: readonly number[] | undefined;
  /** Hash of all of it. */
  readonly checksum: string;
}

// Far above any template there is.
const longestTemplateBytes = 10_000_000;

/** @throws LLMOPT_TOKENIZER_INVALID when there is no tokenizer.json, LLMOPT_JSON_INVALID, LLMOPT_METADATA_INVALID */
export async function readTokenizerFiles(checkpoint: Checkpoint): Promise<TokenizerFiles> {
  const folder = checkpoint.path;
  const file = join(folder, 'tokenizer.json');
  const tokenizer = await readJsonObject(file).catch((error: unknown) => {
    if (!LlmoptError.isInstance(error) || error.code !== 'LLMOPT_FILE_NOT_FOUND') throw error;
    throw new LlmoptError('LLMOPT_TOKENIZER_INVALID', `${folder} has no tokenizer.json that can be read.`, {
      where: { file },
      hint: "Tokenizers in other files are not supported; transformers' save_pretrained writes tokenizer.json.",
      cause: error,
    });
  });
  const config = await readJsonObjectIfThere(join(folder, 'tokenizer_config.json'));
  const map = await readJsonObjectIfThere(join(folder, 'special_tokens_map.json'));
  const templateFile = await readTemplate(join(folder, 'chat_template.jinja'));
  const { eosTokens } = await readGenerationConfig(checkpoint);
  const merged = { ...map?.value, ...config?.value };
  const sum = createHash('sha256');
  for (const part of [tokenizer.bytes, JSON.stringify([merged, templateFile, eosTokens])]) sum.update(part);
  return {
    file,
    tokenizer: tokenizer.value,
    config: merged,
    chatTemplate: templateFile ?? namedTemplate(merged.chat_template),
    eosTokens,
    checksum: sum.digest('hex'),
  };
}

async function readTemplate(file: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(file);
    return bytes.length > longestTemplateBytes ? undefined : bytes.toString();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${file} cannot be read: ${(error as Error).message}.`, {
      where: { file },
      cause: error,
    });
  }
}

/** A template, or the one of several that is called default. */
function namedTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const found = value.find((item): item is JsonObject => isJsonObject(item) && item.name === 'default');
  return typeof found?.template === 'string' ? found.template : undefined;
}
