import { parseBenchmarkResult } from '@llmopt/schema';
import { describe, expect, it } from 'vitest';
import { fakePeer, fakeRecord } from '../test/fakeRecord.ts';
import { type ArmRecord, assembleResult, pairSamples } from './result.ts';

describe('pairSamples', () => {
  it('pairs by run and prompt, and drops who has no partner', () => {
    const at = (runIndex: number, promptIndex: number) => ({ runIndex, promptIndex });
    expect(pairSamples([at(0, 0), at(0, 1), at(1, 0)], [at(0, 1), at(0, 0)])).toEqual([
      [at(0, 0), at(0, 0)],
      [at(0, 1), at(0, 1)],
    ]);
  });
});

describe('assembleResult', () => {
  it('follows the schema', () => {
    const result = assembleResult(fakeRecord(), { incomplete: false });
    expect(parseBenchmarkResult(JSON.parse(JSON.stringify(result)))).toMatchObject({ schemaVersion: 1 });
    expect(result).toMatchObject({
      createdAt: '2026-01-02T03:04:05.000Z',
      model: { name: 'tiny.gguf' },
      settings: { runs: 3, threads: 2, precision: 'int8', backend: 'wasm' },
    });
  });

  it('compares the pairs', () => {
    const { comparison, arms } = assembleResult(fakeRecord({ drift: (run) => 1 + run }), { incomplete: false }) ?? {};
    // Every pair has the ratio 10 to 8, though the machine slows down threefold.
    expect(comparison?.decodeSpeedup).toMatchObject({ n: 6, verdict: 'faster' });
    expect(comparison?.decodeSpeedup?.mean).toBeCloseTo(1.25, 9);
    expect(comparison?.decodeSpeedup?.ci95?.[0]).toBeCloseTo(1.25, 6);
    expect(comparison?.memoryReductionPct?.mean).toBeCloseTo(25, 9);
    expect(comparison?.tokenReductionPct?.mean).toBeCloseTo(0, 9);
    expect(arms?.[0]?.memory.peakMb?.mean).toBeCloseTo(200, 9);
    expect(arms?.[0]?.quality.responseLength?.mean).toBe(12);
    expect(arms?.[0]?.metrics).toEqual({});
    expect(arms?.[1]?.metrics?.['larosa.skippedWeightShare']).toMatchObject({ mean: 0.5, n: 6 });
  });

  it('turns the ends of an interval around where a reduction reverses them', () => {
    const record = fakeRecord({ drift: (run) => 1 + run });
    const { comparison } = assembleResult(record, { incomplete: false }) ?? {};
    const [low, high] = comparison?.timeReductionPct?.ci95 ?? [1, 0];
    expect(low).toBeLessThan(high);
    expect(comparison?.timeReductionPct?.mean).toBeCloseTo((1 - 1 / (comparison?.endToEndSpeedup?.mean ?? 0)) * 100, 9);
  });

  it('has something to tell as soon as every arm has a sample, but compares only when complete', () => {
    const record = fakeRecord({ runs: 1, prompts: 1 });
    expect(assembleResult(record, { incomplete: false })?.comparison?.decodeSpeedup).toMatchObject({
      n: 1,
      ci95: null,
      verdict: 'no difference shown',
    });
    const partial = assembleResult(record, { incomplete: true });
    expect(parseBenchmarkResult(partial)).toMatchObject({ incomplete: true });
    expect(partial?.comparison).toBeUndefined();
    record.arms[1]?.samples.pop();
    expect(assembleResult(record, { incomplete: true })).toBeUndefined();
    expect(assembleResult({ ...record, arms: [] }, { incomplete: true })).toBeUndefined();
  });

  it('compares the baseline with other engines, pair by pair', () => {
    const record = fakeRecord({ drift: (run) => 1 + run });
    const { samples } = record.arms[0] as ArmRecord;
    record.peers = [fakePeer(samples, 1.5), fakePeer(samples, 0.5, 'fast')];
    const result = assembleResult(record, { incomplete: false });
    expect(parseBenchmarkResult(JSON.parse(JSON.stringify(result))).arms).toHaveLength(2);
    const [slow, fast] = result?.comparison?.peers ?? [];
    expect([slow?.name, fast?.name]).toEqual(['node-llama-cpp Q8_0', 'fast']);
    for (const figure of ['decodeSpeedup', 'prefillSpeedup', 'timeToFirstTokenSpeedup', 'endToEndSpeedup'] as const) {
      expect(slow?.[figure]).toMatchObject({ n: 6, verdict: 'faster' });
      expect(slow?.[figure].mean).toBeCloseTo(1.5, 9);
      expect(fast?.[figure]).toMatchObject({ verdict: 'slower' });
      expect(fast?.[figure].mean).toBeCloseTo(0.5, 9);
    }
    expect(result?.peers?.[0]).toMatchObject({
      kind: 'peer',
      version: '1.2.3',
      settings: { name: '1 thread', threads: 1, batchSize: 512 },
      settingsTried: [
        { name: '1 thread', options: { threads: 1 }, decodeTokensPerSecond: 100 },
        { name: '2 threads' },
        { name: 'default', options: {}, failure: expect.any(String) },
      ],
      best: { decode: { name: '1 thread' }, prefill: { name: '2 threads', prefillTokensPerSecond: 800 } },
      time: { loadSeconds: { mean: 0.7 } },
    });
  });

  it('keeps what peers measured in an incomplete result, and who could not take part', () => {
    const record = fakeRecord();
    const peer = fakePeer((record.arms[0] as ArmRecord).samples.slice(0, 2), 1);
    record.peers = [peer, { ...peer, name: 'without samples', samples: [] }];
    record.skippedPeers = [{ name: 'transformers-js', package: '@huggingface/transformers', reason: 'needs a model' }];
    const partial = parseBenchmarkResult(assembleResult(record, { incomplete: true }));
    expect(partial.peers?.map(({ name, runs }) => [name, runs.length])).toEqual([['node-llama-cpp Q8_0', 2]]);
    expect(partial.skippedPeers).toMatchObject([{ name: 'transformers-js', reason: 'needs a model' }]);
    expect(partial.comparison).toBeUndefined();
  });

  it('gives the profile per step', () => {
    const record = fakeRecord();
    const entries = [
      { kind: 'linear', layer: 0, milliseconds: 30 },
      { kind: 'embed', layer: undefined, milliseconds: 5 },
    ];
    Object.assign(record.arms[0] ?? {}, { profile: { steps: 10, stepMilliseconds: 40, entries } });
    expect(assembleResult(record, { incomplete: false })?.arms[0]?.profile).toEqual({
      steps: 10,
      stepMilliseconds: 4,
      entries: [
        { kind: 'linear', layer: 0, milliseconds: 3 },
        { kind: 'embed', layer: -1, milliseconds: 0.5 },
      ],
    });
  });
});
