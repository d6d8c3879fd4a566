import type { BenchmarkResult } from '@llmopt/schema';
import { describe, expect, it } from 'vitest';
import { fakePeer, fakeRecord } from '../../test/fakeRecord.ts';
import { type ArmRecord, assembleResult } from '../result.ts';
import { resultReport } from './resultTable.ts';

const lines = (record = fakeRecord()) =>
  resultReport(assembleResult(record, { incomplete: false }) as BenchmarkResult)
    .split('\n')
    .map((line) =>
      line
        .split('│')
        .map((cell) => cell.trim())
        .filter((_, index, cells) => index > 0 && index < cells.length - 1),
    );

describe('resultReport', () => {
  it('puts the arms side by side, with verdicts in words', () => {
    const rows = lines(fakeRecord({ milliseconds: [10, 8] }));
    expect(rows).toContainEqual(['mean (95 % interval)', 'baseline', 'optimized', 'optimized against baseline']);
    expect(rows).toContainEqual(['decode, tokens per second', '100', '125', '1.25x (1.25 to 1.25), faster']);
    expect(rows).toContainEqual(['peak memory, MB', '200', '150', '25.0 % (25.0 to 25.0) less memory']);
    expect(rows).toContainEqual(['tokens in / out', '20.0 / 11.0', '20.0 / 11.0', '']);
  });

  it('says slower, and says when nothing is shown', () => {
    expect(lines(fakeRecord({ milliseconds: [8, 10] }))).toContainEqual(
      expect.arrayContaining(['0.80x (0.80 to 0.80), slower']),
    );
    expect(lines(fakeRecord({ milliseconds: [8, 8] }))).toContainEqual(
      expect.arrayContaining(['1.00x (1.00 to 1.00), no difference shown']),
    );
  });

  it('lists other engines, every setting that was tried, and who could not take part', () => {
    const record = fakeRecord({ milliseconds: [10, 8] });
    record.peers = [fakePeer((record.arms[0] as ArmRecord).samples, 1.5)];
    record.skippedPeers = [{ name: 'transformers-js', package: '@huggingface/transformers', reason: 'needs a model' }];
    const rows = lines(record);
    expect(rows).toContainEqual(['other engines', 'node-llama-cpp Q8_0', 'baseline against it']);
    expect(rows).toContainEqual(['decode, tokens per second', '66.7', '1.50x (1.50 to 1.50), faster']);
    expect(rows).toContainEqual(['setting', '1 thread', '']);
    expect(rows).toContainEqual(['node-llama-cpp Q8_0', '1 thread', '100', '400', 'fastest decode']);
    expect(rows).toContainEqual(['node-llama-cpp Q8_0', 'default', '', '', 'It did not answer.']);
    const text = resultReport(assembleResult(record, { incomplete: false }) as BenchmarkResult);
    expect(text).toContain('transformers-js: needs a model.');
  });

  it('tells how fast the machine reads memory, where that is known', () => {
    const text = (record = fakeRecord()) =>
      resultReport(assembleResult(record, { incomplete: false }) as BenchmarkResult);
    expect(text({ ...fakeRecord(), memoryBandwidthGBs: 23.456 })).toMatch(/ cores, reads memory at 23.5 GB\/s\n/);
    expect(text()).not.toContain('reads memory');
  });

  it('leaves out what was not measured', () => {
    expect(lines().some(([label]) => label === 'perplexity')).toBe(false);
  });
});
