import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LlmoptError } from '@llmopt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FakeOptions, fakeArm } from '../../test/fakePipeline.ts';
import { createHandlers } from '../arms/child.ts';
import type { ArmProcess } from '../arms/parent.ts';
import { silentReporter } from '../report/reporter.ts';
import { armOf, type Contestant, contestantsOf } from './contestants.ts';
import { backendsResult, isMeasured } from './figures.ts';
import { type MeasureOptions, measureBackends } from './measure.ts';
import { resolveBackendsOptions } from './options.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-measure-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const settings = resolveBackendsOptions({
  prompts: ['one prompt', 'another'],
  runs: 2,
  maxNewTokens: 8,
  qualityTokens: 70,
});
const text = 'the quick brown fox jumps over the lazy dog. '.repeat(10);
const contestants = contestantsOf(settings);
const [int8, float32, onnx, gpu, reference] = contestants as [
  Contestant,
  Contestant,
  Contestant,
  Contestant,
  Contestant,
];

interface FakeBackend extends FakeOptions {
  /** It does not work here. */
  missing?: Error;
  /** Its process dies in the n-th request. */
  diesIn?: number;
}

/** Backends that live in this process; all have the same logits and take a millisecond per token, unless said otherwise. */
function fakes(backends: Partial<Record<string, FakeBackend>> = {}) {
  const log: string[] = [];
  const running = new Set<string>();
  const options: MeasureOptions = {
    settings,
    text,
    logitsFile: join(folder, `${Math.random()}.f32`),
    reporter: silentReporter,
    async probe({ title }) {
      const { missing } = backends[title] ?? {};
      if (missing) throw missing;
      return { settings: {}, notes: [] };
    },
    async open(contestant) {
      const { title } = contestant;
      const { diesIn = Number.POSITIVE_INFINITY, ...fake } = backends[title] ?? {};
      const handlers = createHandlers(async () => fakeArm(fake));
      const spec = armOf(contestant, settings, 'fake.gguf');
      const input = { spec, prompts: settings.prompts, maxNewTokens: settings.maxNewTokens };
      const report = await handlers.load(input, () => {});
      running.add(title);
      let requests = 0;
      const arm: ArmProcess = {
        name: title,
        pid: process.pid,
        stop: async () => void running.delete(title),
        async call(call, input) {
          log.push(`${title} ${call}`);
          if (call === 'run' && ++requests >= diesIn) throw new LlmoptError('LLMOPT_BENCH_FAILED', `${title} died`);
          return handlers[call as 'run'](input as never, () => {}) as never;
        },
      };
      return { arm, report };
    },
  };
  return { log, running, options };
}

const favour = (token: number) => {
  const row = new Float32Array(128);
  row[token] = 3;
  return row;
};

describe('measureBackends', () => {
  it('measures all in turns, and compares their logits with the reference', async () => {
    const { options, running } = fakes({ 'wasm int8': { logits: () => favour(1) } });
    const records = await measureBackends(contestants, options);
    expect(records.map(({ contestant }) => contestant)).toEqual(contestants);
    for (const { failure, samples, plan } of records) {
      expect({ failure, interleaved: plan?.interleaved, count: samples.length }).toEqual({
        failure: undefined,
        interleaved: true,
        count: 4,
      });
    }
    const [own, same, , , base] = records.map(({ divergences }) => divergences);
    expect(own?.divergences).toHaveLength(70);
    expect(Math.min(...(own?.divergences ?? []))).toBeGreaterThan(0.1);
    expect(same?.divergences).toEqual(Array(70).fill(0));
    expect(same?.agreements).toEqual(Array(70).fill(1));
    expect(base).toBeUndefined();
    expect(running).toEqual(new Set());
  });

  it('runs a slow one alone and with fewer tokens, and the others go on', async () => {
    const { options, log } = fakes({ gpu: { millisecondsPerToken: 900 } });
    const records = await measureBackends([int8, gpu, reference], options);
    const slow = records[1];
    // 10 seconds: half for the prompt and half for new tokens, and four times that for positions.
    expect(slow?.plan).toEqual({ interleaved: false, promptTokens: 5, maxNewTokens: 5, positions: 44 });
    expect(slow?.samples.map((sample) => [sample.promptIndex, sample.inputTokens, sample.outputTokens])).toEqual([
      [0, 5, 5],
      [0, 5, 5],
    ]);
    expect(slow?.divergences?.divergences).toHaveLength(44);
    expect(log.lastIndexOf('gpu compareLogits')).toBeLessThan(log.indexOf('wasm int8 run'));
    expect(records[0]?.samples).toHaveLength(4);
  });

  it('keeps the reason of one that does not work, or fails on the way', async () => {
    const missing = new LlmoptError('LLMOPT_PACKAGE_MISSING', 'no such package', { hint: 'Install it.' });
    const { options, running } = fakes({ gpu: { missing }, 'onnx float32': { diesIn: 4 } });
    const records = await measureBackends(contestants, options);
    expect(records.map(({ failure, samples }) => failure ?? samples.length)).toEqual([
      4,
      4,
      expect.objectContaining({ message: 'onnx float32 died' }),
      missing,
      4,
    ]);
    expect(running).toEqual(new Set());
    const { backends } = backendsResult(records, settings, new Date(0));
    expect(backends.map((row) => (isMeasured(row) ? row.decodeSpeedup?.n : row))).toEqual([
      undefined,
      4,
      { name: 'onnx', title: 'onnx float32', reason: 'onnx float32 died', code: 'LLMOPT_BENCH_FAILED' },
      { name: 'gpu', title: 'gpu', reason: 'no such package Install it.', code: 'LLMOPT_PACKAGE_MISSING' },
      4,
    ]);
  });

  it('has no quality without the reference', async () => {
    const { options } = fakes({ reference: { missing: new Error('not enough memory') } });
    const records = await measureBackends([int8, reference], options);
    expect(records[0]?.samples).toHaveLength(4);
    expect(records[0]?.divergences).toBeUndefined();
  });

  it('has no result where nothing works', async () => {
    const missing = new Error('nothing works');
    const { options } = fakes({ 'wasm float32': { missing }, 'onnx float32': { missing } });
    const records = await measureBackends([float32, onnx], options);
    expect(() => backendsResult(records, settings, new Date(0))).toThrow(missing);
  });

  it('ends everything when it is stopped', async () => {
    const { options, running, log } = fakes({ gpu: { missing: new LlmoptError('LLMOPT_ABORTED', 'stopped') } });
    await expect(measureBackends(contestants, options)).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(running).toEqual(new Set());
    expect(log.filter((line) => !line.startsWith('reference'))).toEqual([]);
  });
});
