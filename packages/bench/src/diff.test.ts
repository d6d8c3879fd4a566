import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchmarkResult } from '@llmopt/schema';
import { describe, expect, it } from 'vitest';
import { type FakeRuns, fakeRecord } from '../test/fakeRecord.ts';
import { assertNoRegression, diffResults, readResult } from './diff.ts';
import { diffTable } from './report/diffTable.ts';
import { assembleResult } from './result.ts';
import { createRandom } from './statistics/random.ts';

const result = (runs: FakeRuns = {}) => assembleResult(fakeRecord(runs), { incomplete: false }) as BenchmarkResult;

/** Both arms drift together, and the optimised one a little by itself. */
const noisy = (seed: number, milliseconds: [number, number]) => {
  const random = createRandom(seed);
  const record = fakeRecord({ milliseconds, drift: (run, prompt) => 1 + ((run * 7 + prompt * 3) % 5) / 5 });
  for (const sample of record.arms[1]?.samples ?? []) sample.timePerOutputTokenMs *= 1 + 0.02 * (random() - 0.5);
  return assembleResult(record, { incomplete: false }) as BenchmarkResult;
};

describe('diffResults', () => {
  it('lets the speed of the machine cancel out', () => {
    const diff = diffResults(result(), result({ milliseconds: [20, 16] }));
    expect(diff.decodeSpeedup?.mean).toBeCloseTo(1, 9);
    const row = diff.rows.find(({ label }) => label === 'optimized: decode tokens per second');
    expect(row?.ratio?.mean).toBeCloseTo(0.5, 9);
  });

  it('warns of what differs, by name', () => {
    const a = result();
    const b = {
      ...result(),
      settings: { ...a.settings, threads: 7 },
      model: { ...a.model, quantization: 'Q8_0' },
      incomplete: true,
    };
    expect(diffResults(a, b).warnings).toEqual([
      'B is incomplete',
      'model quantization differs: F32 in A, Q8_0 in B',
      'setting threads differs: 2 in A, 7 in B',
    ]);
    expect(diffResults(a, result()).warnings).toEqual([]);
    const sparser = result();
    Object.assign(sparser.arms[1] ?? {}, { pluginDetails: [{ name: 'larosa', options: { sparsity: 0.5 } }] });
    expect(diffResults(a, sparser).warnings).toEqual([
      expect.stringMatching(/^optimized pluginDetails differs: .*0\.5/),
    ]);
  });

  it('prints a row per figure with a verdict', () => {
    const text = diffTable(diffResults(result(), result({ milliseconds: [10, 4] })));
    const lines = text.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));
    expect(lines).toContainEqual(['', 'decode speed-up', '2.000x', '2.000 to 2.000', 'better', '']);
    expect(lines).toContainEqual(['', 'baseline: peak memory', '1.000x', '1.000 to 1.000', 'no difference shown', '']);
  });
});

describe('assertNoRegression', () => {
  it('passes what is as good, and what only looks worse', () => {
    expect(() => assertNoRegression(diffResults(noisy(1, [10, 8]), noisy(2, [10, 8])), 0.95)).not.toThrow();
    expect(() => assertNoRegression(diffResults(noisy(1, [10, 8]), noisy(2, [10, 8.42])), 0.951)).not.toThrow();
  });

  it('fails what is surely below the limit, with the numbers', () => {
    const diff = diffResults(noisy(1, [10, 8]), noisy(2, [10, 10]));
    expect(() => assertNoRegression(diff, 0.95)).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_REGRESSION',
        message: expect.stringMatching(
          /^The decode speed-up of B is 0\.\d+ \(95 % interval 0\.\d+ to 0\.\d+\) of that of A, below 0\.95\.$/,
        ),
      }),
    );
  });
});

describe('readResult', () => {
  it.each([
    ['{', /is not a benchmark result/],
    ['{"schemaVersion": 1}', /is not a benchmark result/],
    ['[]', /is not a benchmark result/],
  ])('refuses %j by name', async (text, message) => {
    const path = join(await mkdtemp(join(tmpdir(), 'llmopt-diff-')), 'a.json');
    await writeFile(path, text);
    await expect(readResult(path)).rejects.toMatchObject({
      code: 'LLMOPT_RESULT_INVALID',
      message: expect.stringMatching(message),
    });
    await expect(readResult(`${path}.no`)).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
  });
});
