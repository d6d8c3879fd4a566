import { describe, expect, it } from 'vitest';
import { type KernelsOptions, resolveKernelsOptions } from './options.ts';

describe('resolveKernelsOptions', () => {
  it('fills in the defaults', () => {
    expect(resolveKernelsOptions()).toEqual({
      subject: { model: 'smollm2-135m' },
      threads: undefined,
      rows: [1, 2, 3, 8],
      leastRows: 1,
      prompt: 128,
      larosa: [],
      rounds: 15,
      output: 'kernels.json',
    });
  });

  it('takes a shape for a model, sorts rows, and always has a single one', () => {
    expect(resolveKernelsOptions({ shape: '1b', rows: [8, 2, 8], larosa: [0.5, 0.5] })).toMatchObject({
      subject: { shape: '1b' },
      rows: [1, 2, 8],
      leastRows: 8,
      larosa: [0.5],
    });
  });

  it.each<[KernelsOptions, RegExp]>([
    [{ model: 'a', shape: '1b' }, /model and shape/],
    [{ shape: '2b' as '1b' }, /135m, 1b, phi-2.*'2b'/],
    [{ shape: 'toString' as '1b' }, /'toString'/],
    [{ model: ' ' }, /model is empty/],
    [{ output: '' }, /output is empty/],
    [{ rows: [0] }, /rows.*0/],
    [{ rows: [1.5] }, /rows.*1\.5/],
    [{ rows: [129] }, /rows.*129/],
    [{ larosa: [1] }, /larosa.*1/],
    [{ larosa: [Number.NaN] }, /larosa.*NaN/],
    [{ prompt: 0 }, /prompt.*0/],
    [{ rounds: 0 }, /rounds.*0/],
    [{ threads: 65 }, /threads.*65/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveKernelsOptions(options)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) }),
    );
  });
});
