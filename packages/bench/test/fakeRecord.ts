import { resolveOptions } from '../src/options.ts';
import type { BenchmarkRecord, PeerRecord } from '../src/result.ts';
import type { Sample } from '../src/runner.ts';

export interface FakeRuns {
  runs?: number;
  prompts?: number;
  /** Milliseconds per token of each arm. Default 10 and 8. */
  milliseconds?: readonly [baseline: number, optimized: number];
  /** Factor on the times of a run: the machine's mood, common to both arms of a pair. Default: none. */
  drift?: (run: number, prompt: number) => number;
}

/** What a benchmark would have recorded: 20 tokens in, 11 out, 30 characters, 200 and 150 MB. */
export function fakeRecord({
  runs = 3,
  prompts = 2,
  milliseconds = [10, 8],
  drift = () => 1,
}: FakeRuns = {}): BenchmarkRecord {
  const samplesOf = (arm: 0 | 1): Sample[] =>
    Array.from({ length: runs * prompts }, (_, index) => {
      const [run, prompt] = [Math.floor(index / prompts), index % prompts];
      const timePerOutputTokenMs = milliseconds[arm] * drift(run, prompt);
      return {
        runIndex: run,
        promptIndex: prompt,
        totalSeconds: (20 + 10 * timePerOutputTokenMs) / 1000,
        timeToFirstTokenMs: 20,
        timePerOutputTokenMs,
        prefillTokensPerSecond: 1000,
        inputTokens: 20,
        outputTokens: 11,
        characters: 30,
        peakMb: arm === 0 ? 200 : 150,
        averageMb: arm === 0 ? 180 : 140,
        kvMb: 1,
        metrics: (arm === 0 ? {} : { 'larosa.skippedWeightShare': 0.5 }) as Record<string, number>,
      };
    });
  const load = {
    loadSeconds: 0.5,
    model: { name: 'tiny', architecture: 'llama', parameters: 1_000_000, file: 'tiny.gguf', quantization: 'F32' },
    backend: { threads: 2, precision: 'int8' },
    plugins: [],
    promptTokens: Array(prompts).fill(Array(20).fill(1)),
    chatTemplate: true,
    description: 'a fake',
  };
  const responses = Array.from({ length: prompts }, (_, index) => ({
    prompt: `prompt ${index}`,
    text: 'twelve chars',
  }));
  const larosa = { name: 'larosa', version: '0.0.0', options: { sparsity: 0.4 }, fidelity: 'approximate' as const };
  return {
    settings: resolveOptions({ model: './tiny.gguf', runs, prompts: responses.map(({ prompt }) => prompt) }),
    createdAt: new Date('2026-01-02T03:04:05Z'),
    peers: [],
    skippedPeers: [],
    arms: [
      { load, samples: samplesOf(0), responses },
      { load: { ...load, plugins: [larosa] }, samples: samplesOf(1), responses },
    ],
  };
}

/** A peer that takes `slowdown` times as long as an arm for everything. */
export function fakePeer(arm: readonly Sample[], slowdown: number, name = 'node-llama-cpp Q8_0'): PeerRecord {
  const fast = { setting: { name: '1 thread', threads: 1 }, decodeTokensPerSecond: 100, prefillTokensPerSecond: 400 };
  const wide = { setting: { name: '2 threads', threads: 2 }, decodeTokensPerSecond: 50, prefillTokensPerSecond: 800 };
  const hangs = { setting: { name: 'default' }, failure: 'It did not answer.\nIts last words' };
  return {
    name,
    package: 'node-llama-cpp',
    version: '1.2.3',
    file: 'tiny.Q8_0.gguf',
    quantization: 'Q8_0',
    setting: fast.setting,
    load: { loadSeconds: 0.7, settings: { threads: 1, batchSize: 512 } },
    calibration: { tried: [fast, wide, hangs], decode: fast, prefill: wide },
    responses: [{ prompt: 'prompt 0', text: 'an answer' }],
    samples: arm.map(({ kvMb: _, ...sample }) => ({
      ...sample,
      totalSeconds: sample.totalSeconds * slowdown,
      timeToFirstTokenMs: sample.timeToFirstTokenMs * slowdown,
      timePerOutputTokenMs: sample.timePerOutputTokenMs * slowdown,
      prefillTokensPerSecond: sample.prefillTokensPerSecond / slowdown,
      metrics: {},
    })),
  };
}
