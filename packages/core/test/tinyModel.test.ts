import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { openGguf } from '../src/checkpoint/gguf/open.ts';
import { byteSymbols, tinyMerges, writeTinyModel } from './tinyModel.ts';

const folder = await mkdtemp(join(tmpdir(), 'llmopt-tiny-'));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, `${name}.gguf`);

describe('writeTinyModel', () => {
  it('writes the same bytes for the same seed and others for another', async () => {
    const [first, second, third] = await Promise.all(
      [1, 1, 2].map(async (seed, index) => readFile(await writeTinyModel(at(`seed${index}`), { seed }))),
    );
    expect(first!.equals(second!)).toBe(true);
    expect(first!.equals(third!)).toBe(false);
  });

  it('has a vocabulary in which every merge is possible', async () => {
    const checkpoint = await openGguf(await writeTinyModel(at('vocabulary')));
    const tokens = checkpoint.metadata.get('tokenizer.ggml.tokens') as string[];
    expect(new Set(tokens).size).toBe(tokens.length);
    expect(tokens.slice(3, 259)).toEqual(byteSymbols());
    for (const merge of tinyMerges) {
      const [left, right, ...more] = merge.split(' ');
      expect(more).toEqual([]);
      expect(tokens).toEqual(expect.arrayContaining([left, right, `${left}${right}`]));
    }
    expect(checkpoint.tensors.get('token_embd.weight')?.shape).toEqual([tokens.length, 64]);
    await checkpoint.close();
  });

  it('obeys its options', async () => {
    const path = await writeTinyModel(at('options'), {
      layers: 1,
      width: 96,
      heads: 6,
      kvHeads: 3,
      ffn: 40,
      type: 'Q8_0',
      untied: true,
      without: ['blk.0.attn_v.weight'],
      metadata: { 'llama.rope.freq_base': { type: 'float32', value: 500 }, 'tokenizer.chat_template': undefined },
    });
    const checkpoint = await openGguf(path);
    const described = [...checkpoint.tensors.values()].map(({ name, shape, type }) => `${name} ${type} ${shape}`);
    expect(described).toContain('blk.0.attn_k.weight Q8_0 48,96');
    expect(described).toContain('blk.0.ffn_down.weight F16 96,40');
    expect(described).toContain('output.weight Q8_0 287,96');
    expect(checkpoint.tensors.has('blk.0.attn_v.weight')).toBe(false);
    expect(checkpoint.metadata.get('llama.rope.dimension_count')).toBe(16);
    expect(checkpoint.metadata.get('llama.rope.freq_base')).toBe(500);
    expect(checkpoint.metadata.has('tokenizer.chat_template')).toBe(false);
    await checkpoint.close();
  });
});
