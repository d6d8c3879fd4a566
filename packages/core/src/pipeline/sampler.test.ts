import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createSampler, largestIndex, logProbsOf } from './sampler.ts';

// In steps of 1/8: numbers that differ, differ in their probabilities too.
const logitsOf = fc
  .array(fc.integer({ min: -160, max: 160 }), { minLength: 2, maxLength: 60 })
  .map((list) => Float32Array.from(list, (step) => step / 8));

/** Shares of each token over many draws. */
function shares(options: Parameters<typeof createSampler>[0], logits: number[], draws = 20_000): number[] {
  const sampler = createSampler({ seed: 7, ...options });
  const counts = logits.map(() => 0);
  for (let i = 0; i < draws; i++) counts[sampler.sample(Float32Array.from(logits), [])]! += 1 / draws;
  return counts;
}

describe('sampling', () => {
  it('is greedy by default, and takes the first of equals', () => {
    expect(createSampler({}).sample(Float32Array.of(1, 3, 3, 2), [])).toBe(1);
  });

  it('draws with the probabilities of the softmax', () => {
    // Logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8. Four standard deviations of 20,000 draws are 0.014.
    const drawn = shares({ temperature: 1 }, [0, Math.log(2), Math.log(5)]);
    expect(drawn[0]).toBeCloseTo(0.125, 1.5);
    expect(Math.abs(drawn[1]! - 0.25)).toBeLessThan(0.014);
    expect(Math.abs(drawn[2]! - 0.625)).toBeLessThan(0.014);
  });

  it('sharpens with a low temperature', () => {
    // Temperature 0.5 squares the odds: 1 : 4.
    expect(Math.abs(shares({ temperature: 0.5 }, [0, Math.log(2)])[1]! - 0.8)).toBeLessThan(0.014);
  });

  it('cuts with top-k, top-p and min-p', () => {
    const logits = [Math.log(0.5), Math.log(0.3), Math.log(0.15), Math.log(0.05)];
    expect(shares({ temperature: 1, topK: 2 }, logits).map((share) => share > 0)).toEqual([true, true, false, false]);
    expect(shares({ temperature: 1, topP: 0.79 }, logits).map((share) => share > 0)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(shares({ temperature: 1, topP: 0.81 }, logits).map((share) => share > 0)).toEqual([true, true, true, false]);
    expect(shares({ temperature: 1, minP: 0.29 }, logits).map((share) => share > 0)).toEqual([true, true, true, false]);
  });

  it('penalises each token that was there once, whatever its sign', () => {
    const logits = Float32Array.of(2, 1.5, -1);
    expect(createSampler({ repetitionPenalty: 2 }).sample(logits, [0, 0, 2])).toBe(1);
    expect([...logits]).toEqual([1, 1.5, -2]);
  });

  it('gives the same tokens for the same seed, and others for another', () => {
    const draw = (seed: number) => {
      const sampler = createSampler({ temperature: 1, seed });
      return Array.from({ length: 50 }, () =>
        sampler.sample(
          Float32Array.from({ length: 40 }, (_, i) => Math.sin(i)),
          [],
        ),
      );
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });

  it('draws from the k most likely, the first of equals, whatever the logits', () => {
    fc.assert(
      fc.property(logitsOf, fc.integer({ min: 1, max: 70 }), fc.integer(), (logits, topK, seed) => {
        const sorted = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, topK);
        const sampler = createSampler({ temperature: 1e4, topK, seed });
        // So hot that all are as likely: 20 draws for each miss one of the k with a probability of 70 · e^-20.
        const drawn = Array.from({ length: 20 * sorted.length }, () => sampler.sample(logits.slice(), []));
        expect(new Set(drawn)).toEqual(new Set(sorted));
      }),
    );
  });

  it('top-k 1 and a tiny top-p are greedy, whatever the logits', () => {
    fc.assert(
      fc.property(logitsOf, fc.integer(), (logits, seed) => {
        const best = largestIndex(logits);
        expect(createSampler({ temperature: 1, topK: 1, seed }).sample(logits.slice(), [])).toBe(best);
        expect(createSampler({ temperature: 1, topP: 1e-9, seed }).sample(logits.slice(), [])).toBe(best);
      }),
    );
  });
});

describe('logProbsOf', () => {
  it('returns natural logarithms, the most likely first', () => {
    const { logProb, top } = logProbsOf(Float32Array.of(0, Math.log(2), Math.log(5)), 1, 2);
    expect(logProb).toBeCloseTo(Math.log(0.25), 6);
    expect(top.map(({ token }) => token)).toEqual([2, 1]);
    expect(top[0]!.logProb).toBeCloseTo(Math.log(0.625), 6);
  });

  it('lists what a full sort would', () => {
    fc.assert(
      fc.property(logitsOf, fc.integer({ min: 1, max: 10 }), (logits, count) => {
        const sorted = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, count);
        const { top } = logProbsOf(logits, 0, count);
        expect(top.map(({ token }) => logits[token])).toEqual(sorted.map((token) => logits[token]));
      }),
    );
  });
});
