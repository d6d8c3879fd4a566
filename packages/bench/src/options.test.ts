import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type BenchmarkOptions, readPrompts, readText, resolveOptions } from './options.ts';

describe('resolveOptions', () => {
  it('has the documented defaults', () => {
    expect(resolveOptions()).toMatchObject({
      model: 'smollm2-135m',
      larosaSparsity: 0.4,
      maxNewTokens: 128,
      runs: 5,
      warmup: 1,
      seed: 0,
      backend: 'wasm',
      precision: 'int8',
      qualityTokens: 4096,
      profile: false,
      output: 'benchmark_results.json',
      plots: 'benchmark_plots',
    });
    expect(resolveOptions().quality).toMatch(/data[\\/]quality\.txt$/);
    expect(resolveOptions().peers).toEqual([]);
    expect(resolveOptions({ peers: ['transformers-js', 'transformers-js'] }).peers).toEqual(['transformers-js']);
    expect(resolveOptions({ backend: 'reference' }).precision).toBeUndefined();
    expect(resolveOptions({ backend: 'gpu' }).qualityTokens).toBe(512);
    expect(resolveOptions({ backend: 'onnx', threads: 2 })).toMatchObject({ threads: 2, qualityTokens: 4096 });
  });

  it.each<[BenchmarkOptions, RegExp]>([
    [{ larosaSparsity: 1 }, /larosaSparsity must be at least 0 and below 1, but is 1/],
    [{ larosaSparsity: Number.NaN }, /larosaSparsity/],
    [{ maxNewTokens: 1 }, /maxNewTokens must be a whole number from 2/],
    [{ runs: 0 }, /runs must be a whole number from 1/],
    [{ runs: 2.5 }, /runs .* but is 2.5/],
    [{ warmup: -1 }, /warmup/],
    [{ threads: 0 }, /threads/],
    [{ seed: -1 }, /seed/],
    [{ qualityTokens: 0 }, /qualityTokens/],
    [{ backend: 'tpu' as 'gpu' }, /backend must be one of wasm, reference, gpu, onnx, but is 'tpu'/],
    [{ precision: 'int4' as 'int8' }, /precision must be one of int8, float32/],
    [{ backend: 'reference', precision: 'int8' }, /precision int8 is not available on the reference backend/],
    [{ backend: 'onnx', precision: 'int8' }, /precision int8 is not available on the onnx backend/],
    [{ backend: 'reference', threads: 2 }, /threads cannot be set on the reference backend/],
    [{ backend: 'gpu', threads: 2 }, /threads cannot be set on the gpu backend/],
    [{ backend: 'onnx', profile: true }, /profile is not available on the onnx backend/],
    [{ peers: ['llama'] as never }, /peers must be one of node-llama-cpp, transformers-js, but is 'llama'/],
    [{ prompts: [] }, /There is no prompt/],
    [{ prompts: ['a', '  '] }, /Prompt 2 is empty/],
    [{ model: '' }, /model is empty/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveOptions(options)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) }),
    );
  });
});

describe('readPrompts', () => {
  const write = async (name: string, text: string) => {
    const path = join(await mkdtemp(join(tmpdir(), 'llmopt-prompts-')), name);
    await writeFile(path, text);
    return path;
  };

  it('reads one prompt per line and skips blank ones', async () => {
    expect(await readPrompts(await write('p.txt', '\uFEFFfirst\r\n\n  \nsecond\n'))).toEqual(['first', 'second']);
  });

  it('reads a JSON array, in which prompts may have several lines', async () => {
    expect(await readPrompts(await write('p.json', '["a\\nb", "c"]'))).toEqual(['a\nb', 'c']);
  });

  it.each([
    ['p.json', '{"a": 1}', /not an array of strings/],
    ['p.json', '[1]', /not an array of strings/],
    ['p.json', '[', /not valid JSON/],
    ['p.txt', '\n \n', /holds no prompt/],
  ])('refuses %s with %j', async (name, text, message) => {
    await expect(readPrompts(await write(name, text))).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringMatching(message),
    });
  });

  it('names a file that does not exist', async () => {
    await expect(readText('/nowhere/p.txt')).rejects.toMatchObject({
      code: 'LLMOPT_FILE_NOT_FOUND',
      message: expect.stringContaining('/nowhere/p.txt'),
    });
  });
});
