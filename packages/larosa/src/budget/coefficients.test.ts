import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkBudget, defaultCoefficients, keptChannels } from './coefficients.ts';

describe('keptChannels', () => {
  it.each([
    [576, 0.4, 0.8, 391],
    [576, 0.4, 4 / 3, 268],
    [1536, 0.4, 1.4, 675],
    [1536, 0.5, 0.8, 921],
    [100, 0.5, 1, 50],
    [10, 0, 1, 10],
    [10, 0.9, 4 / 3, 1],
  ])('keeps of %i channels at sparsity %f and coefficient %f exactly %i', (width, sparsity, coefficient, kept) => {
    expect(keptChannels(width, sparsity, coefficient)).toBe(kept);
  });

  it('always keeps at least one channel and never more than there are', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.double({ min: 0, max: 0.99, noNaN: true }),
        fc.double({ min: 0, max: 10, noNaN: true }),
        (width, sparsity, coefficient) => {
          const kept = keptChannels(width, sparsity, coefficient);
          expect(kept).toBeGreaterThanOrEqual(1);
          expect(kept).toBeLessThanOrEqual(width);
        },
      ),
    );
  });
});

it('spreads the sparsity so that the bytes of SmolLM2-135M come out as asked', () => {
  const sizes = {
    attentionInput: [960, 576],
    attentionOutput: [576, 576],
    ffnInput: [3072, 576],
    ffnMiddle: [576, 1536],
  } as const;
  let skipped = 0;
  let total = 0;
  for (const [site, [outputs, inputs]] of Object.entries(sizes)) {
    skipped += outputs * inputs * defaultCoefficients[site as keyof typeof sizes];
    total += outputs * inputs;
  }
  expect(skipped / total).toBeCloseTo(1, 10);
});

describe('checkBudget', () => {
  it.each([-0.1, 1, 1.5, Number.NaN])('refuses a sparsity of %f', (sparsity) => {
    expect(() => checkBudget(sparsity, defaultCoefficients)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' }),
    );
  });
  it('refuses a negative coefficient by its name', () => {
    expect(() => checkBudget(0.4, { ...defaultCoefficients, ffnInput: -1 })).toThrow(/ffnInput/);
  });
});
