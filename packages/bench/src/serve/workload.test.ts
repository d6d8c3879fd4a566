import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median } from '../statistics/summary.ts';
import { cutPrompts, longestPromptTokens, seededWorkload } from './workload.ts';

const options = { requests: 2000, arrivals: 'closed' as const, seed: 3, contextLength: 8192 };

describe('seededWorkload', () => {
  it('is the same for the same seed, and another for another', () => {
    expect(seededWorkload(options)).toEqual(seededWorkload(options));
    expect(seededWorkload(options)).not.toEqual(seededWorkload({ ...options, seed: 4 }));
  });

  it('mixes short and long prompts around the median, and short and long outputs', () => {
    const workload = seededWorkload(options);
    const prompts = workload.map(({ promptTokens }) => promptTokens);
    // The median of 2000 log-normal lengths has a deviation of 1.25 / sqrt(2000) = 2.8 %; three times that.
    expect(median(prompts)).toBeGreaterThan(275);
    expect(median(prompts)).toBeLessThan(326);
    expect(Math.max(...prompts)).toBe(longestPromptTokens);
    // exp(-1.28) of the median: a tenth is shorter than that.
    expect(prompts.filter((length) => length < 84).length / 2000).toBeCloseTo(0.1, 1);
    const outputs = workload.map(({ newTokens }) => newTokens);
    // Of a geometric distribution the median is ln 2 of the mean.
    expect(median(outputs)).toBeGreaterThan(38);
    expect(median(outputs)).toBeLessThan(51);
    expect(workload.every(({ atMs }) => atMs === 0)).toBe(true);
  });

  it('comes at random by its rate', () => {
    const workload = seededWorkload({ ...options, arrivals: { perSecond: 4 } });
    const times = workload.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    // 2000 arrivals: the rate has a deviation of 2.2 %; three times that.
    expect(2000 / ((times.at(-1) as number) / 1000)).toBeGreaterThan(3.7);
    expect(2000 / ((times.at(-1) as number) / 1000)).toBeLessThan(4.3);
  });

  it('fits into any context, and keeps to lengths that are given', () => {
    fc.assert(
      fc.property(fc.integer({ min: 8, max: 10_000 }), fc.integer({ min: 0, max: 1000 }), (contextLength, seed) => {
        const workload = seededWorkload({ ...options, requests: 20, contextLength, seed });
        for (const { promptTokens, newTokens } of workload) {
          expect(promptTokens).toBeGreaterThan(0);
          expect(newTokens).toBeGreaterThan(1);
          expect(promptTokens + newTokens).toBeLessThanOrEqual(contextLength);
        }
      }),
    );
    const equal = seededWorkload({ ...options, promptTokens: 64, newTokens: 9 });
    expect(equal.every(({ promptTokens, newTokens }) => promptTokens === 64 && newTokens === 9)).toBe(true);
  });
});

describe('cutPrompts', () => {
  it('takes pieces of the text, which begins again where it ends', () => {
    const text = Array.from({ length: 10 }, (_, index) => index);
    const [first, again, other] = cutPrompts(
      [1, 1, 2].map((seed) => ({ atMs: 0, promptTokens: 25, newTokens: 2, seed })),
      text,
    ) as [number[], number[], number[]];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    expect(first).toHaveLength(25);
    for (const [index, token] of first.entries()) expect(token).toBe(((first[0] as number) + index) % 10);
  });
});
