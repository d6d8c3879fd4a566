import { describe, expect, it } from 'vitest';
import { startSampling } from './memorySamples.ts';

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('startSampling', () => {
  it('samples at the start, in between and at the end', async () => {
    let count = 0;
    const sampling = startSampling({ read: () => ({ processBytes: ++count }), intervalMs: 1 });
    expect(count).toBe(1);
    while (count < 5) await pause(1);
    const samples = sampling.stop();
    expect(samples.map(({ processBytes }) => processBytes)).toEqual(samples.map((_, index) => index + 1));
    const times = samples.map(({ atMs }) => atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    await pause(5);
    expect(count).toBe(samples.length);
  });

  it('keeps no more than it may, over all of the time', async () => {
    let count = 0;
    const read = () => ({ processBytes: ++count });
    const sampling = startSampling({ read, intervalMs: 0.01, mostSamples: 8 });
    while (count < 60) await pause(1);
    const samples = sampling.stop();
    expect(samples.length).toBeLessThanOrEqual(9);
    expect(samples[0]?.processBytes).toBe(1);
    expect(samples.at(-1)?.processBytes).toBe(count);
  });

  it('waits longer where a sample takes long', async () => {
    let count = 0;
    const read = () => {
      for (const end = performance.now() + 4; performance.now() < end; );
      return { processBytes: ++count };
    };
    const began = performance.now();
    const sampling = startSampling({ read, intervalMs: 1 });
    while (count < 2) await pause(1);
    // 4 ms are 2 % of 200 ms, less what clocks differ by.
    expect(performance.now() - began).toBeGreaterThan(195);
    sampling.stop();
  });
});
