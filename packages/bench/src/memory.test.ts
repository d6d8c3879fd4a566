import { describe, expect, it } from 'vitest';
import { peakResidentBytes, residentBytes, sampleMemory } from './memory.ts';

describe('residentBytes', () => {
  it('agrees with what the process says of itself', async () => {
    const before = process.memoryUsage.rss();
    const told = (await residentBytes(process.pid)) ?? 0;
    // Both move while the test runs; they must be of one size.
    expect(told / before).toBeGreaterThan(0.8);
    expect(told / before).toBeLessThan(1.25);
  });

  it('knows nothing of a process that is not there', async () => {
    expect(await residentBytes(2 ** 30)).toBeUndefined();
  });
});

it('peakResidentBytes remembers what is given back', async () => {
  const before = await peakResidentBytes();
  // The system counts in steps.
  expect(before).toBeGreaterThan(((await residentBytes(process.pid)) ?? 0) * 0.95);
  let block: Uint8Array | undefined = new Uint8Array(Math.ceil(before - process.memoryUsage.rss()) + 64 * 2 ** 20).fill(
    1,
  );
  expect(block.at(-1)).toBe(1);
  block = undefined;
  const after = await peakResidentBytes();
  expect(after).toBeGreaterThan(before + 32 * 2 ** 20);
});

describe('sampleMemory', () => {
  it('finds the peak and the mean of all samples, first and last included', async () => {
    const values = [10, 40, 20, 30];
    let reads = 0;
    let done: () => void = () => {};
    const threeReads = new Promise<void>((resolve) => {
      done = resolve;
    });
    const sampler = sampleMemory(1, {
      intervalMs: 1,
      read: async () => {
        reads++;
        if (reads === 3) done();
        return values[Math.min(reads - 1, 3)];
      },
    });
    await threeReads;
    const figures = await sampler.stop();
    expect(figures?.peakBytes).toBe(40);
    expect(figures?.samples).toBe(reads);
    const expected = (10 + 40 + 20 + 30 * (reads - 3)) / reads;
    expect(figures?.averageBytes).toBeCloseTo(expected, 9);
  });

  it('has no figures where nothing can be read', async () => {
    expect(await sampleMemory(1, { read: async () => undefined }).stop()).toBeUndefined();
  });
});
