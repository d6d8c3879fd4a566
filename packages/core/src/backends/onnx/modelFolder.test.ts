import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fixturePath, openFixture } from '../../../test/architectureFixtures.ts';
import { type TinyModelOptions, tinyChatTemplate, writeTinyModel } from '../../../test/tinyModel.ts';
import { buildGraph } from '../../architectures/index.ts';
import { openGguf } from '../../checkpoint/index.ts';
import { tokenizerFromFolder } from '../../tokenizer/fromFolder/index.ts';
import { tokenizerFromGguf } from '../../tokenizer/index.ts';
import { exportOnnxFolder } from './index.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-folder-'));
});
afterAll(() => rm(folder, { recursive: true }));

const filesOf = async (of: string) => (await readdir(of, { recursive: true })).sort();
const readJson = async (...parts: string[]) => JSON.parse(await readFile(path.join(folder, ...parts), 'utf8'));

async function exportTiny(name: string, options: TinyModelOptions = {}) {
  const checkpoint = await openGguf(await writeTinyModel(path.join(folder, `${name}.gguf`), options), {
    cacheDir: false,
  });
  try {
    return { checkpoint, written: await exportOnnxFolder(checkpoint, buildGraph(checkpoint), path.join(folder, name)) };
  } finally {
    await checkpoint.close();
  }
}

it('a GGUF file gets the files that transformers.js asks for', async () => {
  const { written } = await exportTiny('tiny');
  expect(await filesOf(path.join(folder, 'tiny'))).toEqual(
    ['config.json', 'generation_config.json', 'onnx', 'onnx/model.onnx', 'tokenizer.json', 'tokenizer_config.json'].map(
      path.normalize,
    ),
  );
  expect(written.files).toEqual([path.join(folder, 'tiny', 'onnx', 'model.onnx')]);
  expect(await readJson('tiny', 'config.json')).toMatchObject({
    ...{ model_type: 'llama', hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16 },
    ...{ num_hidden_layers: 2, max_position_embeddings: 256 },
  });
  expect(await readJson('tiny', 'generation_config.json')).toEqual({ bos_token_id: 1, eos_token_id: [2, 0] });
  expect(await readJson('tiny', 'tokenizer_config.json')).toMatchObject({
    ...{ bos_token: '<|im_start|>', eos_token: '<|im_end|>', chat_template: tinyChatTemplate },
  });
});

it.each([false, true])('the tokenizer in the folder gives the ids of the file, beginning token: %s', async (value) => {
  const name = `ids-${value}`;
  const { checkpoint } = await exportTiny(name, {
    metadata: { 'tokenizer.ggml.add_bos_token': { type: 'bool', value } },
  });
  const ofFile = tokenizerFromGguf(checkpoint);
  const ofFolder = await tokenizerFromFolder({ ...checkpoint, format: 'safetensors', path: path.join(folder, name) });
  const { strings } = JSON.parse(
    await readFile(path.join(import.meta.dirname, '../../../test/fixtures/token-ids.json'), 'utf8'),
  );
  for (const { text } of strings as { text: string }[]) {
    const ids = ofFile.encode(text);
    expect(ofFolder.encode(text)).toEqual(ids);
    expect(ofFolder.decode(ids)).toBe(ofFile.decode(ids));
  }
  const chat = [{ role: 'user', content: 'hello <|im_end|> world' }];
  expect(ofFolder.encodeChat(chat)).toEqual(ofFile.encodeChat(chat));
  expect([...ofFolder.stopTokens].sort()).toEqual([...ofFile.stopTokens].sort());
});

it('a folder with safetensors keeps its own files', async () => {
  const checkpoint = await openFixture('phi', 'safetensors');
  await exportOnnxFolder(checkpoint, buildGraph(checkpoint), path.join(folder, 'phi'));
  await checkpoint.close();
  for (const name of ['config.json', 'tokenizer.json']) {
    expect(await readFile(path.join(folder, 'phi', name))).toEqual(await readFile(fixturePath('phi', name)));
  }
});

it('what is there is not touched, and nothing is left behind', async () => {
  await mkdir(path.join(folder, 'taken', 'inside'), { recursive: true });
  await expect(exportTiny('taken')).rejects.toMatchObject({ code: 'LLMOPT_WRITE_FAILED' });
  await expect(
    exportTiny('unknown', { metadata: { 'tokenizer.ggml.pre': { type: 'string', value: 'runes' } } }),
  ).rejects.toMatchObject({
    code: 'LLMOPT_TOKENIZER_INVALID',
  });
  expect((await readdir(folder)).filter((name) => /taken|unknown/.test(name)).sort()).toEqual([
    'taken',
    'taken.gguf',
    'unknown.gguf',
  ]);
  expect(await readdir(path.join(folder, 'taken'))).toEqual(['inside']);
});
