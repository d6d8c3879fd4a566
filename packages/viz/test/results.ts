import { type Arm, type BenchmarkResult, type Figure, parseBenchmarkResult } from '@llmopt/schema';

/** A figure with an interval of ± `share` of its mean. */
export const figure = (mean: number, share = 0.02, n = 20): Figure => ({
  mean,
  median: mean,
  ci95: n < 2 ? null : [mean * (1 - share), mean * (1 + share)],
  n,
});

export function arm(name: string, kind: Arm['kind'], tokensPerSecond: number, rest: Partial<Arm> = {}): Arm {
  const perToken = 1000 / tokensPerSecond;
  return {
    name,
    kind,
    plugins: [],
    time: {
      totalSeconds: figure(0.4 + (128 * perToken) / 1000),
      tokensPerSecond: figure(tokensPerSecond),
      timeToFirstTokenMs: figure(410, 0.05),
      timePerOutputTokenMs: figure(perToken),
      prefillTokensPerSecond: figure(312),
      loadSeconds: figure(0.41, 0, 1),
    },
    tokens: { input: figure(131, 0.01), output: figure(128, 0), total: figure(259, 0.01) },
    memory: {
      peakMb: figure(268, 0.01),
      averageMb: figure(262, 0.01),
      tokensPerMb: figure(0.48, 0.01),
      kvPeakMb: figure(11.4, 0.01),
    },
    quality: {
      responseLength: figure(412, 0.15, 5),
      perplexity: figure(27.4, 0.06, 4096),
      bitsPerByte: figure(0.98, 0.03, 4096),
    },
    responses: [],
    runs: Array.from({ length: 20 }, (_, i) => ({
      runIndex: Math.floor(i / 4),
      promptIndex: i % 4,
      totalSeconds: 2,
      timeToFirstTokenMs: 410,
      timePerOutputTokenMs: perToken,
      prefillTokensPerSecond: 312,
      inputTokens: 131,
      outputTokens: 128,
      characters: 560 + (i % 5) * 12,
      peakMb: 268,
      averageMb: 262,
    })),
    ...rest,
  };
}

const ratio = (mean: number, share: number) => ({
  ...figure(mean, share),
  verdict:
    mean * (1 - share) > 1
      ? ('faster' as const)
      : mean * (1 + share) < 1
        ? ('slower' as const)
        : ('no difference shown' as const),
});

const quality = (kl: number, agreement: number, perplexity: number): Arm['quality'] => ({
  responseLength: figure(388, 0.2, 5),
  perplexity: figure(perplexity, 0.06, 4096),
  klDivergence: figure(kl, 0.06, 4096),
  topTokenAgreement: figure(agreement, 0.015, 4096),
});

/** Invented figures: two arms, all measured. */
export function twoArms(rest: Partial<BenchmarkResult> = {}): BenchmarkResult {
  return parseBenchmarkResult({
    schemaVersion: 1,
    createdAt: '2026-01-02T03:04:05.000Z',
    system: { cpu: 'Example CPU 9000', cores: 2, memoryBytes: 2 ** 34, node: '26.0.0', platform: 'linux-x64' },
    model: {
      name: 'smollm2-135m',
      architecture: 'llama',
      parameters: 134_515_008,
      file: 'SmolLM2.gguf',
      quantization: 'Q4_1',
    },
    settings: {
      prompts: 4,
      maxNewTokens: 128,
      runs: 5,
      warmup: 1,
      seed: 0,
      backend: 'wasm',
      threads: 2,
      precision: 'int8',
    },
    arms: [
      arm('baseline', 'baseline', 62.3),
      arm('optimized', 'optimized', 74.1, { quality: quality(0.186, 0.81, 32.9) }),
    ],
    comparison: {
      decodeSpeedup: ratio(1.19, 0.02),
      endToEndSpeedup: ratio(1.14, 0.02),
      charactersPerSecondGain: ratio(1.01, 0.05),
      timeReductionPct: { mean: 12.3, median: 12.3, ci95: [10.6, 14], n: 20 },
      throughputGainPct: figure(14, 0.1),
      tokenReductionPct: { mean: 0, median: 0, ci95: [0, 0], n: 20 },
      memoryReductionPct: { mean: -0.6, median: -0.6, ci95: [-0.9, -0.3], n: 20 },
    },
    ...rest,
  });
}

/** Four arms, one with a long name; quality of only one; interrupted. */
export const fourArms = (): BenchmarkResult =>
  twoArms({
    incomplete: true,
    arms: [
      arm('baseline', 'baseline', 62.3),
      arm('optimized', 'optimized', 74.1, { quality: quality(0.186, 0.81, 32.9) }),
      arm('node-llama-cpp Q8_0, 2 threads', 'peer', 58.2),
      arm('transformers.js', 'peer', 21.7),
    ],
  });

/** One run of each, no quality, nothing compared. */
export const bare = (): BenchmarkResult =>
  twoArms({
    arms: ['baseline', 'optimized'].map((name) => {
      const one = arm(name, name as 'baseline', 60);
      const single = (value: Figure) => ({ ...value, ci95: null, n: 1 });
      return {
        ...one,
        time: Object.fromEntries(
          Object.entries(one.time).map(([key, value]) => [key, single(value as Figure)]),
        ) as Arm['time'],
        quality: { responseLength: single(one.quality.responseLength) },
        runs: one.runs.slice(0, 1),
      };
    }),
    comparison: undefined,
  });
