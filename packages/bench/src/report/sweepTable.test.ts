import { stripVTControlCharacters } from 'node:util';
import type { SweepPoint, SweepResult } from '@llmopt/schema';
import { expect, it } from 'vitest';
import { sweepReport } from './sweepTable.ts';

const figure = (mean: number, n: number) => ({ mean, median: mean, ci95: null, n });
const distance = (kl: number, n: number) => ({
  klDivergence: figure(kl, n),
  topTokenAgreement: figure(0.9, n),
  perplexityRatio: figure(1.1, n),
});
const point = (name: string, more: Partial<SweepPoint>): SweepPoint => ({
  name,
  kind: 'larosa',
  method: 'Top-K',
  weightBytesPerToken: 92.02e6,
  toFloat32: distance(0.21, 2000),
  ...more,
});
const result = (points: SweepPoint[]): SweepResult => ({
  kind: 'sweep',
  schemaVersion: 1,
  createdAt: '2026-01-02T03:04:05.000Z',
  system: { cpu: 'Example CPU', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' },
  model: { name: 'm', architecture: 'llama', parameters: 135e6, file: 'm.gguf', quantization: 'Q4_1' },
  settings: {
    ...{ precision: 'int8', threads: 1, qualityTokens: 2000, prompts: 1, maxNewTokens: 8, runs: 1, warmup: 0, seed: 0 },
  },
  baseline: 'dense int8',
  points,
});
const report = (...points: SweepPoint[]) => stripVTControlCharacters(sweepReport(result(points)));

it('has a row per point, and says which one saw fewer positions', () => {
  const ratio = { ...figure(1.2, 6), ci95: [1.1, 1.3] as [number, number], verdict: 'faster' as const };
  const text = report(
    point('Top-K, 0.4', {
      sparsity: 0.4,
      toDense: distance(0.19, 2000),
      time: { timePerOutputTokenMs: figure(6.5, 6), decodeSpeedup: ratio },
    }),
    point('engine Q4_1', { kind: 'peer', toFloat32: distance(0.003, 1024) }),
  );
  const row = text.split('\n').find((line) => line.includes('Top-K, 0.4'));
  expect(row?.split('│').map((cell) => cell.trim())).toEqual([
    ...['', 'Top-K, 0.4', '0.400', '92.0', '6.50', '1.20x (1.10 to 1.30), faster', '', '0.210', '90.0', '0.190', ''],
  ]);
  expect(text).toContain('m (135 M parameters, Q4_1), wasm int8, 1 thread\nExample CPU, 2 cores');
  expect(text).toContain('engine Q4_1 is compared at the first 1024 positions only, the others at 2000.');
});

it('has no column that would be empty', () => {
  expect(report(point('a', { toDense: distance(0.1, 5) }))).toContain('KL to dense int8');
  expect(report(point('a', {}))).not.toContain('KL to dense int8');
});
