import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../test/tinyModel.ts';
import { openCheckpoint } from './openCheckpoint.ts';
import { writeSafetensors } from './safetensors/write.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-folder-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  await writeSafetensors(join(folder, 'model.safetensors'), {
    'model.embed_tokens.weight': { shape: [2, 3], type: 'BF16', data: Float32Array.of(1, 2, 3, 4, 5, 6) },
    'model.norm.weight': { shape: [3], type: 'F32', data: Float32Array.of(1, 1, 1) },
  });
});

const writeConfig = (config: unknown) =>
  writeFile(join(folder, 'config.json'), typeof config === 'string' ? config : JSON.stringify(config));

async function checksum(): Promise<string> {
  const checkpoint = await openCheckpoint(folder, { cacheDir: false });
  const sum = await checkpoint.checksum();
  await checkpoint.close();
  return sum;
}

describe('openCheckpoint', () => {
  it('opens a folder, with the configuration as metadata and the names of the tensors as they are', async () => {
    await writeConfig({
      model_type: 'llama',
      hidden_size: 3,
      rope_scaling: { rope_type: 'llama3', factor: 8.0, nested: { deep: true } },
      eos_token_id: [1, 2],
      head_dim: null,
      mixed: [1, 'a'],
      objects: [{}],
      tie_word_embeddings: false,
      empty: [],
    });
    for (const path of [folder, join(folder, 'model.safetensors')]) {
      const checkpoint = await openCheckpoint(path, { cacheDir: false });
      expect(checkpoint).toMatchObject({ format: 'safetensors', path: folder, architecture: 'llama', parameters: 9 });
      expect(checkpoint.metadata).toEqual(
        new Map<string, unknown>([
          ['model_type', 'llama'],
          ['hidden_size', 3],
          ['rope_scaling.rope_type', 'llama3'],
          ['rope_scaling.factor', 8],
          ['rope_scaling.nested.deep', true],
          ['eos_token_id', [1, 2]],
          ['tie_word_embeddings', false],
          ['empty', []],
        ]),
      );
      expect(checkpoint.tensors.get('model.embed_tokens.weight')).toMatchObject({
        shape: [2, 3],
        type: 'BF16',
        byteLength: 12,
      });
      expect([...(await checkpoint.read('model.embed_tokens.weight', [1, 2]))]).toEqual([4, 5, 6]);
      await checkpoint.close();
    }
  });

  it('opens a GGUF file', async () => {
    const path = await writeTinyModel(join(folder, 'tiny.gguf'));
    const checkpoint = await openCheckpoint(path, { cacheDir: false });
    expect(checkpoint).toMatchObject({ format: 'gguf', path, architecture: 'llama' });
    await checkpoint.close();
  });

  it('has a checksum of weights and configuration', async () => {
    await writeConfig({ model_type: 'llama' });
    const first = await checksum();
    expect(first).toMatch(/^[0-9a-f]{64}$/);
    await writeConfig({ model_type: 'llama', rope_theta: 5 });
    const second = await checksum();
    expect(second).not.toBe(first);
    await writeSafetensors(join(folder, 'model.safetensors'), {
      a: { shape: [1], type: 'F32', data: Float32Array.of(1) },
    });
    expect(await checksum()).not.toBe(second);
  });

  it.each([
    ['{', 'JSON_INVALID', 'config.json cannot be used'],
    ['[]', 'JSON_INVALID', 'it holds no JSON object'],
    ['{"model_type":"a","model_type":"b"}', 'JSON_INVALID', '"model_type" appears twice'],
    ['{}', 'METADATA_MISSING', 'does not say its model_type'],
    ['{"model_type":""}', 'METADATA_MISSING', 'does not say its model_type'],
  ])('refuses the configuration %s', async (config, code, message) => {
    await writeConfig(config);
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: `LLMOPT_${code}`,
      message: expect.stringContaining(message),
    });
  });

  it('says what is missing', async () => {
    await expect(openCheckpoint(folder)).rejects.toMatchObject({
      code: 'LLMOPT_FILE_NOT_FOUND',
      message: expect.stringContaining('config.json cannot be read: there is no such file'),
    });
    await writeConfig({ model_type: 'llama' });
    await rm(join(folder, 'model.safetensors'));
    await expect(openCheckpoint(folder)).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
    await expect(openCheckpoint(join(folder, 'nowhere'))).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
  });
});
