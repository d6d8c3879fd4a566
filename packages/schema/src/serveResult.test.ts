import { describe, expect, it } from 'vitest';
import { isServe, parseServeResult } from './serveResult.ts';

const quantile = (value: number) => ({ value, ci95: [value * 0.9, value * 1.1] });
const latency = (p50: number) => ({
  p50: quantile(p50),
  p90: quantile(2 * p50),
  p99: quantile(4 * p50),
  mean: p50,
  n: 9,
});

const replay = () => ({
  kind: 'serve',
  schemaVersion: 1,
  createdAt: '2026-01-02T03:04:05.000Z',
  system: { cpu: 'x', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' },
  model: { name: 'm', architecture: 'llama', parameters: 1, file: 'm.gguf', quantization: 'Q4_1' },
  settings: {
    ...{ contextLength: 64, requests: 1, arrivals: 'closed', seed: 0, precision: 'int8', kv: 'float32', threads: 2 },
    vattention: { reclaim: 'eager' },
  },
  runs: [
    {
      ...{ name: 'vattention', kind: 'policy', concurrency: 4, slots: 4, loadSeconds: 1, wallSeconds: 2, mostHeld: 4 },
      throughput: { outputTokensPerSecond: 50, totalTokensPerSecond: 250, requestsPerSecond: 0.5 },
      timeToFirstTokenMs: latency(300),
      interTokenMs: { ...latency(20), p99: { value: 90, ci95: null } },
      memory: {
        processBytesBefore: 2e8,
        samples: [
          { atMs: 0, reservedBytes: 9, committedBytes: 3, liveBytes: 2, residentBytes: 3, processBytes: 2e8 },
          { atMs: 50, processBytes: 2e8 },
        ],
      },
      metrics: { 'vattention.reuses': 1 },
      failures: {},
      requests: [{ dueMs: 0, startMs: 0, endMs: 9, promptTokens: 5, outputTokens: 3, timeToFirstTokenMs: 4 }],
    },
  ],
});

// biome-ignore lint/suspicious/noExplicitAny: the tests break the shape on purpose
type Spoiled = any;

describe('parseServeResult', () => {
  it('returns a valid result unchanged, with unknown keys', () => {
    expect(parseServeResult({ ...replay(), later: 1 })).toEqual({ ...replay(), later: 1 });
    expect(parseServeResult({ ...replay(), incomplete: true, runs: [] }).runs).toEqual([]);
  });

  it.each([
    ['a run without slots', (s: Spoiled) => delete s.runs[0].slots, 'runs[0].slots'],
    [
      'a percentile that is not finite',
      (s: Spoiled) => (s.runs[0].interTokenMs.p99.value = Number.NaN),
      'interTokenMs.p99.value',
    ],
    [
      'a sample without the process',
      (s: Spoiled) => delete s.runs[0].memory.samples[1].processBytes,
      'samples[1].processBytes',
    ],
    ['an unknown kind of run', (s: Spoiled) => (s.runs[0].kind = 'other'), 'runs[0].kind'],
    ['a sweep', (s: Spoiled) => (s.kind = 'sweep'), 'kind'],
  ])('refuses %s and names the key', (_, spoil, path) => {
    const input = replay();
    spoil(input);
    expect(() => parseServeResult(input)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_RESULT_INVALID', message: expect.stringContaining(path) }),
    );
  });
});

it('is told from other results by what it says of itself', () => {
  expect([replay(), { kind: 'sweep' }, { schemaVersion: 1 }, null].map(isServe)).toEqual([true, false, false, false]);
});
