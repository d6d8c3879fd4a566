import { describe, expect, it } from 'vitest';
import { fakeRecord } from '../../test/fakeRecord.ts';
import { contestantsOf } from '../backends/contestants.ts';
import { backendsResult } from '../backends/figures.ts';
import type { BackendRecord } from '../backends/measure.ts';
import { resolveBackendsOptions } from '../backends/options.ts';
import type { ArmRecord } from '../result.ts';
import { backendsReport } from './backendsTable.ts';

const [fast, slow] = fakeRecord({ milliseconds: [10, 20] }).arms as [ArmRecord, ArmRecord];
const [int8, , onnx, gpu, reference] = contestantsOf({ threads: 2 }).map(
  (contestant): BackendRecord => ({ contestant, notes: [], samples: [] }),
) as [BackendRecord, BackendRecord, BackendRecord, BackendRecord, BackendRecord];
const plan = { interleaved: true, promptTokens: undefined, maxNewTokens: 11, positions: 64 };
const alone = { interleaved: false, promptTokens: 20, maxNewTokens: 11, positions: 64 };
const settings = resolveBackendsOptions({ model: './tiny.gguf', runs: 3, prompts: ['a', 'b'], larosaSparsity: 0.4 });
const divergences = { divergences: Array(64).fill(1.5e-7), agreements: Array(64).fill(1) };

const report = backendsReport(
  backendsResult(
    [
      { ...int8, load: fast.load, plan, samples: fast.samples, divergences },
      {
        ...onnx,
        load: { ...slow.load, backend: { precision: 'float32', executionProviders: 'cpu' } },
        plan,
        samples: slow.samples,
        divergences,
      },
      { ...gpu, failure: new Error(`There is no GPU to use: ${'so it is. '.repeat(20)}`) },
      { ...reference, load: { ...slow.load, backend: {} }, plan: alone, samples: slow.samples },
    ],
    settings,
    new Date(0),
  ),
);
const rows = report.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));

describe('backendsReport', () => {
  it('has a row per backend', () => {
    expect(rows).toContainEqual(['', 'wasm int8', '100', '1000', '20.0', '200', '1.5e-7', '100', '20.0 / 11.0', '']);
    expect(rows).toContainEqual([
      '',
      'onnx float32 (cpu)',
      '50.0',
      '1000',
      '20.0',
      '150',
      '1.5e-7',
      '100',
      '20.0 / 11.0',
      '',
    ]);
    expect(report).toContain('tiny.gguf (llama, 1.00 M parameters, F32), LaRoSA at 0.4, 2 prompts, 3 runs of each');
  });

  it('has the reason in the row of one that does not work, in lines that can be read', () => {
    const at = rows.findIndex(([, title]) => title === 'gpu');
    expect(rows[at]?.[2]).toMatch(/^There is no GPU to use: so it is\./);
    expect(rows[at + 1]?.slice(1, -1)).toEqual(['', expect.stringMatching(/so it$/)]);
    for (const line of report.split('\n')) expect(line.length).toBeLessThan(200);
  });

  it('says which are pairs, and which were measured alone', () => {
    expect(report).toContain('Decode of onnx float32 (cpu) against wasm int8: 0.50x (0.50 to 0.50), slower');
    expect(rows.some(([, title]) => title === 'reference *')).toBe(true);
    expect(report).toContain('* A request would take longer than 10.0 s');
    expect(report).toContain('Compared with the reference at 64 positions.');
  });
});
