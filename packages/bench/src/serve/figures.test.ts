import { parseServeResult } from '@llmopt/schema';
import { describe, expect, it } from 'vitest';
import { decodeStretches, figuresOf, rateOf } from './figures.ts';
import type { ReplayRecord } from './replay.ts';

/** A token every `gapMs` from `firstMs` on. */
const record = (firstMs: number, gapMs: number, tokens: number, rest: Partial<ReplayRecord> = {}): ReplayRecord => {
  const tokenTimesMs = Array.from({ length: tokens }, (_, index) => firstMs + index * gapMs);
  return { dueMs: 0, startMs: 0, endMs: tokenTimesMs.at(-1) as number, promptTokens: 10, tokenTimesMs, ...rest };
};

describe('decodeStretches', () => {
  it('are where as many requests decode as may', () => {
    const [stretch, ...others] = decodeStretches([record(100, 10, 21), record(200, 10, 31)], 2);
    expect(others).toEqual([]);
    // From 200 to 300 ms, ten tokens each.
    expect(stretch?.seconds).toBeCloseTo(0.1);
    expect(stretch?.tokens).toBeCloseTo(20);
  });

  it('count a part of a token where a gap lies across an end', () => {
    const [stretch] = decodeStretches([record(0, 100, 3), record(50, 20, 4)], 2);
    // 50 to 110 ms: three tokens of one, and six tenths of a token of the other.
    expect(stretch?.tokens).toBeCloseTo(3.6);
  });

  it('are none where nobody decodes beside the other', () => {
    expect(decodeStretches([record(0, 10, 5), record(100, 10, 5)], 2)).toEqual([]);
  });
});

describe('rateOf', () => {
  it('weighs stretches by their length', () => {
    const stretches = [
      { tokens: 100, seconds: 1 },
      { tokens: 20, seconds: 0.1 },
    ];
    expect(rateOf(stretches, 0)?.mean).toBeCloseTo(120 / 1.1);
    expect(rateOf(stretches, 0)).toMatchObject({ median: 150, n: 2, ci95: [100, expect.closeTo(200)] });
    expect(rateOf(stretches.slice(1), 0)).toMatchObject({ ci95: null });
    expect(rateOf([], 0)).toBeUndefined();
  });
});

describe('figuresOf', () => {
  const about = { name: 'fixed', kind: 'policy' as const, concurrency: 2, loadSeconds: 1 };
  const report = {
    records: [
      record(100, 10, 11),
      record(160, 20, 6, { dueMs: 60, startMs: 80, promptTokens: 600 }),
      record(0, 1, 0, { failure: 'LLMOPT_KV_BUDGET', endMs: 3, tokenTimesMs: [] }),
    ],
    wallMs: 500,
    memory: [{ atMs: 0, processBytes: 10 }],
    processBytesBefore: 5,
    mostHeld: 2,
    slots: 2,
    metrics: { 'vattention.reuses': 1 },
  };

  it('counts what was served, and times it from when it was due', () => {
    const run = figuresOf(report, about, 0);
    expect(run.throughput).toMatchObject({
      outputTokensPerSecond: 34,
      totalTokensPerSecond: 1254,
      requestsPerSecond: 4,
    });
    expect(run.timeToFirstTokenMs).toMatchObject({ mean: 100, n: 2 });
    expect(run.interTokenMs).toMatchObject({ n: 15, p50: { value: 10 }, p99: { value: 20 } });
    expect(run.failures).toEqual({ LLMOPT_KV_BUDGET: 1 });
    expect(run.requests.map(({ outputTokens }) => outputTokens)).toEqual([11, 6, 0]);
  });

  it('sets apart the gaps of others while a long prompt is read', () => {
    // It is read from 80 to 160 ms: the first six gaps of the other request.
    expect(figuresOf(report, about, 0).interTokenWhilePrefillMs).toMatchObject({ n: 6, mean: 10 });
  });

  it('follows the schema, also where nothing was served', () => {
    const base = { cpu: 'x', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' };
    const result = (records: ReplayRecord[]) => ({
      kind: 'serve',
      schemaVersion: 1,
      createdAt: '2026-01-02T03:04:05.000Z',
      system: base,
      model: { name: 'm', architecture: 'llama', parameters: 1, file: 'm.gguf', quantization: 'Q4_1' },
      settings: {
        ...{
          contextLength: 64,
          requests: 3,
          arrivals: 'closed',
          seed: 0,
          precision: 'int8',
          kv: 'float32',
          threads: 1,
        },
      },
      runs: [figuresOf({ ...report, records }, about, 0)],
    });
    for (const records of [report.records, report.records.slice(2), []]) {
      expect(parseServeResult(JSON.parse(JSON.stringify(result(records)))).runs).toHaveLength(1);
    }
  });
});
