import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planFor } from './plan.ts';

const options = { promptTokens: 40, maxNewTokens: 64, positions: 256, requestSeconds: 10 };

describe('planFor', () => {
  it('lets a fast backend do all that the others do', () => {
    expect(planFor({ prefillTokensPerSecond: 500, decodeTokensPerSecond: 100 }, options)).toEqual({
      interleaved: true,
      promptTokens: undefined,
      maxNewTokens: 64,
      positions: 256,
    });
  });

  it('gives a slow one half of the time for the prompt and half for new tokens', () => {
    expect(planFor({ prefillTokensPerSecond: 5, decodeTokensPerSecond: 3 }, options)).toEqual({
      interleaved: false,
      promptTokens: 25,
      maxNewTokens: 15,
      positions: 200,
    });
  });

  it('asks the slowest for a few tokens all the same', () => {
    expect(planFor({ prefillTokensPerSecond: 0.01, decodeTokensPerSecond: 0.01 }, options)).toEqual({
      interleaved: false,
      promptTokens: 4,
      maxNewTokens: 4,
      positions: 16,
    });
  });

  it('never asks for more than was asked for, and keeps to the time where that is possible', () => {
    const speed = fc.double({ min: 0.001, max: 10_000, noNaN: true });
    fc.assert(
      fc.property(
        fc.record({ prefillTokensPerSecond: speed, decodeTokensPerSecond: speed }),
        fc.record({
          promptTokens: fc.integer({ min: 1, max: 500 }),
          maxNewTokens: fc.integer({ min: 2, max: 500 }),
          positions: fc.integer({ min: 2, max: 4096 }),
          requestSeconds: fc.double({ min: 0.1, max: 100, noNaN: true }),
        }),
        (speeds, wanted) => {
          const plan = planFor(speeds, wanted);
          const promptTokens = plan.promptTokens ?? wanted.promptTokens;
          expect(promptTokens).toBeLessThanOrEqual(wanted.promptTokens);
          expect(plan.maxNewTokens).toBeLessThanOrEqual(wanted.maxNewTokens);
          expect(plan.maxNewTokens).toBeGreaterThanOrEqual(2);
          expect(plan.positions).toBeLessThanOrEqual(wanted.positions);
          const seconds =
            Math.max(0, promptTokens - 4) / speeds.prefillTokensPerSecond +
            Math.max(0, plan.maxNewTokens - 4) / speeds.decodeTokensPerSecond;
          expect(seconds).toBeLessThanOrEqual(wanted.requestSeconds * 1.000001);
        },
      ),
    );
  });
});
