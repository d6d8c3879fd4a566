import { describe, expect, it } from 'vitest';
import { fakePipeline } from '../../test/fakePipeline.ts';
import { evaluateQuality } from './evaluate.ts';

const text = 'the quick brown fox jumps over the lazy dog. '.repeat(30);

/** Logits that favour one token by `strength`. */
const favour = (token: number, strength: number) => {
  const row = new Float32Array(128);
  row[token] = strength;
  return row;
};

describe('evaluateQuality', () => {
  it('knows the answer where every token is equally likely', async () => {
    const report = await evaluateQuality({
      baseline: fakePipeline(),
      optimized: fakePipeline(),
      text,
      maxTokens: 1000,
    });
    expect(report.windows).toBe(2);
    expect(report.windowTokens).toBe(512);
    expect(report.scoredTokens).toBe(511 + 487);
    expect(report.baseline.perplexity.mean).toBeCloseTo(128, 6);
    // One byte per token: log2(128) = 7 bits each.
    expect(report.baseline.bitsPerByte.mean).toBeCloseTo(7, 9);
    expect(report.comparison?.klDivergence).toMatchObject({ mean: 0, ci95: [0, 0], n: 998 });
    expect(report.comparison?.topTokenAgreement.mean).toBe(1);
    expect(report.comparison?.perplexityRatio.mean).toBeCloseTo(1, 12);
  });

  it('measures how far the optimised model is from the baseline', async () => {
    const report = await evaluateQuality({
      baseline: fakePipeline({ logits: () => favour(5, 2) }),
      // Every eighth position disagrees.
      optimized: fakePipeline({ logits: (_, position) => favour(position % 8 === 0 ? 6 : 5, 2) }),
      text,
      maxTokens: 1025,
      windowTokens: 1025,
    });
    const sum = Math.exp(2) + 127;
    // KL of two such rows with another favourite: (p5 - p6)·2, elsewhere 0.
    const divergence = ((Math.exp(2) - 1) / sum) * 2;
    expect(report.comparison?.topTokenAgreement.mean).toBeCloseTo(7 / 8, 2);
    expect(report.comparison?.klDivergence.mean).toBeCloseTo(divergence / 8, 3);
    const [low, high] = report.comparison?.klDivergence.ci95 ?? [0, 0];
    expect(low).toBeLessThanOrEqual(divergence / 8 + 1e-9);
    expect(high).toBeGreaterThanOrEqual(divergence / 8 - 1e-9);
  });

  it('reads chunks of at most 64 rows in order, never the last token, and gives its slots back', async () => {
    const lengths: number[] = [];
    const baseline = fakePipeline({ onForward: ({ tokens }) => lengths.push(tokens.length) });
    const optimized = fakePipeline();
    await evaluateQuality({ baseline, optimized, text, maxTokens: 200 });
    expect(lengths).toEqual([64, 64, 64, 7]);
    expect([baseline.freeSlots(), optimized.freeSlots()]).toEqual([1, 1]);
  });

  it('puts the begin token in front where the model asks for it', async () => {
    const seen: number[] = [];
    const tokenizer = {
      encode: (words: string, options?: { addBos?: boolean }) => [
        ...(options?.addBos === false ? [] : [1]),
        ...Array.from(words, (character) => character.charCodeAt(0)),
      ],
    };
    const baseline = fakePipeline({
      tokenizer,
      onForward: ({ tokens, positions }) => positions[0] === 0 && seen.push(tokens[0] as number),
    });
    const report = await evaluateQuality({ baseline, optimized: fakePipeline({ tokenizer }), text, maxTokens: 1000 });
    expect(seen).toEqual([1, 1]);
    expect(report.scoredTokens).toBe(1000);
  });

  it('compares no distributions across vocabularies, only bits per byte', async () => {
    const report = await evaluateQuality({
      baseline: fakePipeline(),
      optimized: fakePipeline({ tokenizer: { checksum: 'other' } }),
      text,
      maxTokens: 300,
    });
    expect(report.comparison).toBeUndefined();
    expect(report.optimized.bitsPerByte.mean).toBeCloseTo(7, 9);
  });

  it('refuses a text that is too short', async () => {
    const input = { baseline: fakePipeline(), optimized: fakePipeline(), text: 'a', maxTokens: 10 };
    await expect(evaluateQuality(input)).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining('too short'),
    });
  });

  it('stops at an abort and gives its slots back', async () => {
    const controller = new AbortController();
    const baseline = fakePipeline({ onForward: () => controller.abort() });
    const input = { baseline, optimized: fakePipeline(), text, maxTokens: 500, signal: controller.signal };
    await expect(evaluateQuality(input)).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(baseline.freeSlots()).toBe(1);
  });
});
