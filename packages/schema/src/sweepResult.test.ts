import { describe, expect, it } from 'vitest';
import { isSweep, parseSweepResult } from './sweepResult.ts';

const figure = (mean: number) => ({ mean, median: mean, ci95: null, n: 1 });

const sweep = () => ({
  kind: 'sweep',
  schemaVersion: 1,
  createdAt: '2026-01-02T03:04:05.000Z',
  system: { cpu: 'x', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' },
  model: { name: 'm', architecture: 'llama', parameters: 1, file: 'm.gguf', quantization: 'Q4_1' },
  settings: {
    ...{ precision: 'int8', threads: 2, qualityTokens: 100, prompts: 1, maxNewTokens: 8, runs: 1, warmup: 0, seed: 0 },
    textChecksum: 'abc',
  },
  baseline: 'dense int8',
  points: [
    {
      name: 'Top-K, 0.4',
      kind: 'larosa',
      method: 'Top-K',
      sparsity: 0.4,
      options: { sparsity: 0.4, rotation: 'layer' },
      weightBytesPerToken: 10,
      toFloat32: { klDivergence: figure(0.1), topTokenAgreement: figure(0.9), perplexityRatio: figure(1.1) },
      time: { timePerOutputTokenMs: figure(10) },
    },
  ],
});

// biome-ignore lint/suspicious/noExplicitAny: the tests break the shape on purpose
type Spoiled = any;

describe('parseSweepResult', () => {
  it('returns a valid result unchanged, with unknown keys', () => {
    expect(parseSweepResult({ ...sweep(), later: 1 })).toEqual({ ...sweep(), later: 1 });
    expect(parseSweepResult({ ...sweep(), incomplete: true, points: [] }).points).toEqual([]);
  });

  it.each([
    ['a point without bytes', (s: Spoiled) => delete s.points[0].weightBytesPerToken, 'points[0].weightBytesPerToken'],
    ['a sparsity of 1', (s: Spoiled) => (s.points[0].sparsity = 1), 'points[0].sparsity'],
    ['an unknown kind of point', (s: Spoiled) => (s.points[0].kind = 'other'), 'points[0].kind'],
    ['a benchmark', (s: Spoiled) => delete s.kind, 'kind'],
  ])('refuses %s and names the key', (_, spoil, path) => {
    const input = sweep();
    spoil(input);
    expect(() => parseSweepResult(input)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_RESULT_INVALID', message: expect.stringContaining(path) }),
    );
  });
});

it('is told from other results by what it says of itself', () => {
  expect([sweep(), { kind: 'backends' }, { schemaVersion: 1 }, null, []].map(isSweep)).toEqual([
    true,
    false,
    false,
    false,
    false,
  ]);
});
