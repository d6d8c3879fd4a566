import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Checkpoint } from './checkpoint.ts';
import { readGenerationConfig } from './generationConfig.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-generation-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
});

async function read(
  config: unknown,
  metadata: Record<string, number> = {},
  format: Checkpoint['format'] = 'safetensors',
) {
  if (config !== undefined) await writeFile(join(folder, 'generation_config.json'), JSON.stringify(config));
  const checkpoint = { format, path: folder, metadata: new Map(Object.entries(metadata)) };
  return readGenerationConfig(checkpoint as unknown as Checkpoint);
}

describe('readGenerationConfig', () => {
  it('is greedy unless do_sample says otherwise, as transformers is', async () => {
    expect((await read(undefined)).sampling).toEqual({});
    expect((await read({})).sampling).toEqual({});
    expect((await read({ temperature: 0.7, top_p: 0.9, do_sample: false })).sampling).toEqual({});
    expect((await read({ temperature: 0.7, do_sample: null, repetition_penalty: 1.1 })).sampling).toEqual({
      repetitionPenalty: 1.1,
    });
  });

  it('samples with what is said, and with the defaults of transformers where nothing is', async () => {
    expect((await read({ do_sample: true })).sampling).toEqual({ temperature: 1, topK: 50, topP: 1, minP: 0 });
    const config = { do_sample: true, temperature: 0.7, top_k: 20, top_p: 0.8, min_p: 0.05, repetition_penalty: 1.05 };
    expect((await read(config)).sampling).toEqual({
      temperature: 0.7,
      topK: 20,
      topP: 0.8,
      minP: 0.05,
      repetitionPenalty: 1.05,
    });
  });

  it('knows the end tokens: its own, else those of config.json', async () => {
    expect((await read({ eos_token_id: [1, 2] }, { eos_token_id: 5 })).eosTokens).toEqual([1, 2]);
    expect((await read({ eos_token_id: 0 }, { eos_token_id: 5 })).eosTokens).toEqual([0]);
    expect((await read({}, { eos_token_id: 5 })).eosTokens).toEqual([5]);
    expect((await read({})).eosTokens).toBeUndefined();
  });

  it('asks no file beside a GGUF file', async () => {
    expect(await read({ eos_token_id: 1, do_sample: true }, {}, 'gguf')).toEqual({
      eosTokens: undefined,
      sampling: {},
    });
  });

  it.each<[config: unknown, code: string, message: string]>([
    [{ do_sample: true, temperature: -1 }, 'METADATA_INVALID', '"temperature" of '],
    [{ do_sample: true, top_p: 0 }, 'METADATA_INVALID', 'is 0; a number from'],
    [{ do_sample: true, top_k: 1.5 }, 'METADATA_INVALID', 'is 1.5; a whole number was expected'],
    [{ do_sample: 'yes' }, 'METADATA_INVALID', 'is "yes"; true or false was expected'],
    [{ repetition_penalty: 'much' }, 'METADATA_INVALID', 'is "much"; a number from 0.01 to 100'],
    [{ eos_token_id: [1, -2] }, 'METADATA_INVALID', 'is [1,-2]; a token id, or a list of them,'],
    [{ eos_token_id: 'x' }, 'METADATA_INVALID', 'is "x"; a token id'],
    [[], 'JSON_INVALID', 'it holds no JSON object'],
  ])('refuses %j', async (config, code, message) => {
    await expect(read(config)).rejects.toMatchObject({
      code: `LLMOPT_${code}`,
      message: expect.stringContaining(message),
    });
  });
});
