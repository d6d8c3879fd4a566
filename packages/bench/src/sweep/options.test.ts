import { describe, expect, it } from 'vitest';
import { methodName } from './methods.ts';
import { resolveSweepOptions, type SweepOptions } from './options.ts';

describe('resolveSweepOptions', () => {
  it('fills in its defaults', () => {
    expect(resolveSweepOptions()).toMatchObject({
      sparsities: [0, 0.25, 0.4, 0.5, 0.6],
      equalBytes: [],
      methods: [{ name: 'default', options: {} }],
      qualityTokens: 20_000,
      precision: 'int8',
      output: 'sweep.json',
    });
    expect(resolveSweepOptions({ equalBytes: [0.4] }).sparsities).toEqual([]);
  });

  it.each<[SweepOptions, RegExp]>([
    [{ sparsities: [0.4, 1] }, /larosaSparsity must be at least 0 and below 1, but is 1/],
    [{ equalBytes: [-0.1] }, /equalBytes must be at least 0 and below 1, but is -0.1/],
    [{ methods: [{ options: { sparsity: 0.3 } }] }, /A method has a sparsity/],
    [{ methods: [{ options: {} }, { options: { calibration: 'a' } }] }, /Two methods are called 'default'/],
    [{ peers: ['transformers-js'] }, /A sweep cannot measure the peer transformers-js/],
    [{ runs: 0 }, /runs must be a whole number from 1/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveSweepOptions(options)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) }),
    );
  });
});

describe('methodName', () => {
  it.each([
    [{}, 'default'],
    [{ calibration: 'c.safetensors' }, 'default'],
    [{ selection: 'threshold', budget: 'uniform' }, 'threshold, uniform'],
    [{ rotation: 'layer', values: true, score: 'weighted' }, 'Top-K, rotated per layer, values rotated, weighted'],
    [{ rotation: 4, prefill: 'sparse' }, 'Top-K, rotated per 4 layers'],
    [{ novelty: 3 }, 'Top-K, novelty 3'],
  ])('of %j is "%s"', (choice, name) => {
    expect(methodName(choice as Parameters<typeof methodName>[0])).toBe(name);
  });
});
