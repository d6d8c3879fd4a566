import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blockBootstrap } from './bootstrap.ts';
import { createRandom } from './random.ts';
import { tInterval } from './summary.ts';

describe('blockBootstrap', () => {
  it('gives the same interval for the same seed, another for another', () => {
    const random = createRandom(1);
    const samples = Float64Array.from({ length: 640 }, random);
    expect(blockBootstrap(samples, { seed: 3 })).toEqual(blockBootstrap(samples, { seed: 3 }));
    expect(blockBootstrap(samples, { seed: 3 })).not.toEqual(blockBootstrap(samples, { seed: 4 }));
  });

  it('agrees with the t-interval on independent samples', () => {
    const random = createRandom(2);
    const samples = Float64Array.from({ length: 3200 }, random);
    const [low, high] = blockBootstrap(samples) ?? [0, 0];
    const [tLow, tHigh] = tInterval(samples) ?? [0, 0];
    // One hundred blocks: the width itself is uncertain by about 1 / sqrt(200) = 7 %; three times that.
    expect((high - low) / (tHigh - tLow)).toBeGreaterThan(0.79);
    expect((high - low) / (tHigh - tLow)).toBeLessThan(1.21);
  });

  it('is wider than the t-interval where neighbours move together', () => {
    const random = createRandom(5);
    const samples: number[] = [];
    for (let block = 0; block < 100; block++) {
      const level = random();
      for (let index = 0; index < 32; index++) samples.push(level);
    }
    const [low, high] = blockBootstrap(samples) ?? [0, 0];
    const [tLow, tHigh] = tInterval(samples) ?? [0, 0];
    // Fully dependent blocks of 32 widen the interval by sqrt(32) = 5.7.
    expect((high - low) / (tHigh - tLow)).toBeGreaterThan(4);
  });

  it('stays within the range of the samples', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -10, max: 10, noNaN: true }), { minLength: 1, maxLength: 200 }),
        fc.nat(),
        (samples, seed) => {
          const [low, high] = blockBootstrap(samples, { seed, resamples: 50, blockLength: 8 }) ?? [
            samples[0] ?? 0,
            samples[0] ?? 0,
          ];
          expect(low).toBeLessThanOrEqual(high);
          expect(low).toBeGreaterThanOrEqual(Math.min(...samples) - 1e-9);
          expect(high).toBeLessThanOrEqual(Math.max(...samples) + 1e-9);
        },
      ),
    );
  });

  it('knows nothing of a single block', () => {
    expect(blockBootstrap([1, 2, 3])).toBeNull();
  });
});
