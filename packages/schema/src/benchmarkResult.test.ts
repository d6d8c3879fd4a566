import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { benchmarkResultSchema, parseBenchmarkResult } from './benchmarkResult.ts';

const figure = (mean: number) => ({ mean, median: mean, ci95: [mean * 0.9, mean * 1.1], n: 5 });
const ratio = { ...figure(1.2), verdict: 'faster' };

const result = () => ({
  schemaVersion: 1,
  createdAt: '2026-01-02T03:04:05.000Z',
  system: { cpu: 'x', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' },
  model: { name: 'm', architecture: 'llama', parameters: 1, file: 'm.gguf', quantization: 'Q4_1' },
  settings: { prompts: 1, maxNewTokens: 8, runs: 5, warmup: 1, seed: 0, backend: 'wasm', threads: 2 },
  arms: [
    {
      name: 'baseline',
      kind: 'baseline',
      plugins: [] as string[],
      time: {
        totalSeconds: figure(1),
        tokensPerSecond: figure(60),
        timeToFirstTokenMs: figure(100),
        timePerOutputTokenMs: figure(16),
        prefillTokensPerSecond: figure(200),
        loadSeconds: { mean: 1, median: 1, ci95: null as null | number[], n: 1 },
      },
      tokens: { input: figure(10), output: figure(8), total: figure(18) },
      memory: { peakMb: figure(300), averageMb: figure(250), tokensPerMb: figure(0.06) },
      quality: { responseLength: figure(40) },
      responses: [{ prompt: 'a', text: 'b' }],
      runs: [],
    },
  ],
  comparison: {
    decodeSpeedup: ratio,
    endToEndSpeedup: ratio,
    charactersPerSecondGain: ratio,
    timeReductionPct: figure(10),
    throughputGainPct: figure(10),
    tokenReductionPct: figure(0),
    memoryReductionPct: figure(-3),
  },
});

// biome-ignore lint/suspicious/noExplicitAny: the tests break the shape on purpose
type Spoiled = any;

describe('parseBenchmarkResult', () => {
  it('returns a valid result unchanged, with unknown keys at every depth', () => {
    const input = { ...result(), later: { a: 1 } };
    Object.assign(input.arms[0]!.time, { energyJoules: 3 });
    expect(parseBenchmarkResult(input)).toEqual(input);
  });

  it('accepts other engines, and refuses one without its settings', () => {
    const { plugins: _, quality: __, ...arm } = result().arms[0]!;
    const tried = { name: '1 thread', options: { threads: 1 }, decodeTokensPerSecond: 60, prefillTokensPerSecond: 300 };
    const peer = {
      ...arm,
      name: 'engine Q8_0',
      kind: 'peer',
      package: 'engine',
      version: '1.0.0',
      file: 'm.Q8_0.gguf',
      quantization: 'Q8_0',
      settings: { name: '1 thread' },
      settingsTried: [tried, { name: 'default', options: {}, failure: 'it hangs' }],
      best: { decode: tried, prefill: tried },
    };
    const peers = [
      {
        name: peer.name,
        decodeSpeedup: ratio,
        prefillSpeedup: ratio,
        timeToFirstTokenSpeedup: ratio,
        endToEndSpeedup: ratio,
      },
    ];
    const input = {
      ...result(),
      comparison: { ...result().comparison, peers },
      peers: [peer],
      skippedPeers: [{ name: 'other', reason: 'needs a model' }],
    };
    expect(parseBenchmarkResult(input)).toEqual(input);
    expect(() => parseBenchmarkResult({ ...input, peers: [{ ...peer, settingsTried: undefined }] })).toThrow(
      /peers\[0\]\.settingsTried/,
    );
  });

  it('accepts an interrupted run without a comparison', () => {
    const { comparison: _, ...rest } = result();
    expect(parseBenchmarkResult({ ...rest, incomplete: true }).incomplete).toBe(true);
  });

  it.each([
    ['a missing key', (r: Spoiled) => delete r.arms[0].time.tokensPerSecond, 'arms[0].time.tokensPerSecond'],
    ['another version', (r: Spoiled) => (r.schemaVersion = 2), 'schemaVersion'],
    [
      'a figure that is not finite',
      (r: Spoiled) => (r.arms[0].time.totalSeconds.mean = Number.NaN),
      'totalSeconds.mean',
    ],
    ['an unknown verdict', (r: Spoiled) => (r.comparison.decodeSpeedup.verdict = 'great'), 'decodeSpeedup.verdict'],
  ])('refuses %s and names the key', (_, spoil, path) => {
    const input = result();
    spoil(input);
    expect(() => parseBenchmarkResult(input)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_RESULT_INVALID', message: expect.stringContaining(path) }),
    );
  });

  it.each([null, undefined, 3, 'x', []])('refuses %j with its code', (value) => {
    expect(() => parseBenchmarkResult(value)).toThrow(expect.objectContaining({ code: 'LLMOPT_RESULT_INVALID' }));
  });
});

it('has a JSON Schema that keeps unknown keys', () => {
  const schema = z.toJSONSchema(benchmarkResultSchema, { io: 'input' });
  expect(schema.required).toContain('arms');
  expect(schema.additionalProperties).toEqual({});
});
