import { describe, expect, it } from 'vitest';
import { bundledQualityText, defaultPrompts } from '../options.ts';
import { type BackendsOptions, resolveBackendsOptions } from './options.ts';

describe('resolveBackendsOptions', () => {
  it('fills in the defaults', () => {
    expect(resolveBackendsOptions()).toEqual({
      model: 'smollm2-135m',
      prompts: defaultPrompts,
      maxNewTokens: 64,
      runs: 3,
      warmup: 1,
      threads: undefined,
      seed: 0,
      larosaSparsity: undefined,
      quality: bundledQualityText,
      qualityTokens: 256,
      requestSeconds: 10,
      output: 'backends.json',
    });
  });

  it.each<[BackendsOptions, RegExp]>([
    [{ larosaSparsity: 1 }, /larosaSparsity.*1/],
    [{ maxNewTokens: 1 }, /maxNewTokens.*1/],
    [{ runs: 0 }, /runs.*0/],
    [{ threads: 65 }, /threads.*65/],
    [{ prompts: [] }, /no prompt/],
    [{ qualityTokens: 4097 }, /qualityTokens must be at most 4096, but is 4097/],
    [{ requestSeconds: 0 }, /requestSeconds.*0/],
    [{ requestSeconds: Number.NaN }, /requestSeconds.*NaN/],
    [{ output: ' ' }, /output is empty/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveBackendsOptions(options)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) }),
    );
  });
});
