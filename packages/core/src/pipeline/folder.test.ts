import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { fixturePath } from '../../test/architectureFixtures.ts';
import { createPipeline } from './createPipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-pipeline-folder-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  await cp(fixturePath('phi', '.'), folder, { recursive: true });
});

const open = (model: string) => createPipeline({ model, backend: 'reference', cacheDir: false, slots: 1 });
const prompt = [1, 2, 3, 4, 5];

describe('createPipeline, a folder with safetensors', () => {
  it('says the same as the same model in a GGUF file', async () => {
    await using fromFolder = await open(folder);
    await using fromGguf = await open(join(folder, 'model.gguf'));
    const options = { maxNewTokens: 16, ignoreEndToken: true };
    const { tokens } = await fromFolder.generate(prompt, options);
    expect(tokens).toEqual((await fromGguf.generate(prompt, options)).tokens);
    expect(fromFolder.model).toMatchObject({ name: folder, architecture: 'phi', quantization: 'F32' });
    expect(fromFolder.model.parameters).toBe(fromGguf.model.parameters);
  });

  it('ends at any of the tokens that generation_config.json names', async () => {
    const { tokens } = await (async () => {
      await using pipeline = await open(folder);
      return await pipeline.generate(prompt, { maxNewTokens: 8, ignoreEndToken: true });
    })();
    const end = tokens[3]!;
    const place = tokens.indexOf(end);
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: [287, end] }));
    await using pipeline = await open(folder);
    const result = await pipeline.generate(prompt, { maxNewTokens: 8 });
    expect(result).toMatchObject({ finishReason: 'endToken', tokens: tokens.slice(0, place) });
  });

  it('samples as generation_config.json says where the options say nothing', async () => {
    await writeFile(
      join(folder, 'generation_config.json'),
      JSON.stringify({ do_sample: true, temperature: 1.5, top_k: 30, repetition_penalty: 1.3, eos_token_id: 287 }),
    );
    await using pipeline = await open(folder);
    const sampling = { temperature: 1.5, topK: 30, topP: 1, minP: 0, repetitionPenalty: 1.3 };
    expect(pipeline.sampling).toEqual(sampling);
    await rm(join(folder, 'generation_config.json'));
    await using plain = await open(folder);
    expect(plain.sampling).toEqual({});

    const length = { maxNewTokens: 12, ignoreEndToken: true, seed: 5 };
    const said = (await pipeline.generate(prompt, { ...length, topP: undefined })).tokens;
    expect(said).toEqual((await plain.generate(prompt, { ...length, ...sampling })).tokens);
    expect(said).not.toEqual((await plain.generate(prompt, length)).tokens);
    const greedy = { ...length, temperature: 0, repetitionPenalty: 1 };
    expect((await pipeline.generate(prompt, greedy)).tokens).toEqual((await plain.generate(prompt, length)).tokens);
  });

  it.each([
    ['config.json', '{', 'LLMOPT_JSON_INVALID'],
    ['config.json', '{"model_type":"nonsense"}', 'LLMOPT_ARCHITECTURE_UNKNOWN'],
    ['generation_config.json', '{"temperature":-1}', 'LLMOPT_METADATA_INVALID'],
    ['tokenizer.json', '{}', 'LLMOPT_TOKENIZER_INVALID'],
    ['model.safetensors', '{}', 'LLMOPT_SAFETENSORS_INVALID'],
  ])('refuses a broken %s (%s)', async (file, text, code) => {
    await writeFile(join(folder, file), text);
    await expect(open(folder)).rejects.toMatchObject({ code });
  });
});
