import { parseSweepResult, type SweepPoint, type SweepResult } from '@llmopt/schema';
import { figure, twoArms } from './results.ts';

const distance = (kl: number) => ({
  klDivergence: figure(kl, 0.06, 20_000),
  topTokenAgreement: figure(1 / (1 + kl), 0.01, 20_000),
  perplexityRatio: figure(1 + kl, 0.01, 20_000),
});

const ratio = (mean: number) => ({ ...figure(mean), verdict: mean > 1.02 ? ('faster' as const) : ('slower' as const) });

const layers = 106.2e6;
const head = 28.3e6;

function larosa(method: string, kls: readonly number[], adapters = 0): SweepPoint[] {
  return [0.25, 0.4, 0.5, 0.6].map((sparsity, index) => ({
    name: `${method}, ${sparsity}`,
    kind: 'larosa',
    method,
    precision: 'int8',
    sparsity,
    options: { sparsity },
    weightBytesPerToken: layers * (1 - sparsity) + head + adapters,
    perplexity: figure(30 + index),
    toFloat32: distance(kls[index] as number),
    toDense: distance(kls[index] as number),
    time: { timePerOutputTokenMs: figure(8 - index), decodeSpeedup: ratio(1 + sparsity / 2 - adapters / 1e8) },
  }));
}

/** Invented figures: four methods, the dense models, and another engine, compared at fewer positions. */
export function sweep(rest: Partial<SweepResult> = {}): SweepResult {
  const { system, model } = twoArms();
  const dense = (precision: string, bytes: number, kl: number): SweepPoint => ({
    name: `dense ${precision}`,
    kind: 'dense',
    method: `dense ${precision}`,
    precision,
    weightBytesPerToken: bytes,
    perplexity: figure(27),
    toFloat32: kl === 0 ? { ...distance(0), klDivergence: figure(0, 0, 20_000) } : distance(kl),
  });
  return parseSweepResult({
    kind: 'sweep',
    schemaVersion: 1,
    createdAt: '2026-01-02T03:04:05.000Z',
    system,
    model,
    settings: {
      precision: 'int8',
      threads: 2,
      qualityTokens: 20_000,
      prompts: 4,
      maxNewTokens: 64,
      runs: 3,
      warmup: 1,
      seed: 0,
    },
    baseline: 'dense int8',
    points: [
      {
        ...dense('float32', 4 * (layers + head), 0),
        time: { timePerOutputTokenMs: figure(24), decodeSpeedup: ratio(0.34) },
      },
      { ...dense('int8', layers + head, 0.0017), time: { timePerOutputTokenMs: figure(8.1) } },
      ...larosa('Top-K, uniform', [0.048, 0.221, 0.503, 1.12]),
      ...larosa('Top-K, coefficients', [0.038, 0.186, 0.445, 1]),
      ...larosa('Top-K, rotated per layer', [0.029, 0.152, 0.382, 0.9], 9.9e6),
      ...larosa('Top-K, values rotated, weighted, budget per layer', [0.027, 0.14, 0.36, 0.82]),
      {
        name: 'node-llama-cpp Q4_1',
        kind: 'peer',
        method: 'node-llama-cpp Q4_1',
        weightBytesPerToken: 96.5e6,
        toFloat32: { ...distance(0.0031), klDivergence: figure(0.0031, 0.1, 1024) },
        time: { timePerOutputTokenMs: figure(13), decodeSpeedup: ratio(0.6) },
      },
    ],
    ...rest,
  });
}
