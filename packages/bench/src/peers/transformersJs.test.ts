import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPipeline, type Pipeline } from '@llmopt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { type ArmProcess, startArm } from '../arms/parent.ts';
import { onnxFolder } from './onnxFolder.ts';

const texts = ['hello world and the other one', 'in the world'];
const maxNewTokens = 24;

let folder = '';
let pipeline: Pipeline;
let arm: ArmProcess;
let prompts: number[][] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-peer-'));
  // Of this seed, both texts go on with words and not with a single token.
  const file = await writeTinyModel(join(folder, 'tiny.gguf'), { seed: 4 });
  pipeline = await createPipeline({ model: file, backend: 'reference', cacheDir: false });
  prompts = texts.map((text) => pipeline.tokenizer.encode(text));
  arm = startArm('transformers-js', { module: 'peer' });
  const report = await arm.call('loadPeer', {
    engine: 'transformers-js',
    file: await onnxFolder(file, { cacheDir: folder }),
    setting: { name: '1 thread', threads: 1 },
    prompts,
    maxNewTokens,
  });
  expect(report.settings).toMatchObject({ threads: 1 });
});
afterAll(async () => {
  await arm?.stop();
  await pipeline?.dispose();
  await rm(folder, { recursive: true, force: true });
});

describe('a transformers.js arm', () => {
  it('reads the same tokens and writes the same ones as a pipeline, whatever came before', async () => {
    for (const prompt of [0, 1, 0]) {
      const expected = await pipeline.generate(prompts[prompt] as number[], { maxNewTokens, ignoreEndToken: true });
      const report = await arm.call('run', { prompt, maxNewTokens, ignoreEndToken: true });
      expect(report.text).toBe(expected.text);
      expect(report).toMatchObject({ usage: expected.usage, finishReason: 'length' });
      const { tokenTimesMs, timeToFirstTokenMs, timePerOutputTokenMs, totalMs } = report.timings;
      expect(tokenTimesMs).toHaveLength(maxNewTokens);
      expect(timeToFirstTokenMs).toBe(tokenTimesMs[0]);
      expect(timePerOutputTokenMs).toBeCloseTo(((tokenTimesMs.at(-1) as number) - timeToFirstTokenMs) / 23, 9);
      expect(totalMs).toBeGreaterThanOrEqual(tokenTimesMs.at(-1) as number);
    }
  });

  it('stops where a pipeline stops', async () => {
    const expected = await pipeline.generate(prompts[1] as number[], { maxNewTokens });
    const report = await arm.call('run', { prompt: 1, maxNewTokens, ignoreEndToken: false });
    expect(report).toMatchObject({ text: expected.text, usage: expected.usage, finishReason: expected.finishReason });
  });

  it('refuses a prompt that was not loaded, and what it cannot do', async () => {
    const failed = (text: string) => ({ code: 'LLMOPT_BENCH_FAILED', message: expect.stringContaining(text) });
    const request = { prompt: 7, maxNewTokens, ignoreEndToken: true };
    await expect(arm.call('run', request)).rejects.toMatchObject(failed('Prompt 7 was not loaded'));
    await expect(arm.call('cpu', undefined)).rejects.toMatchObject(failed("cannot be asked for 'cpu'"));
  });
});
