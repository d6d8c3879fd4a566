import { LlmoptError, type Pipeline } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { characterTokenizer, fakeArm, fakePipeline } from '../../test/fakePipeline.ts';
import { createHandlers } from './child.ts';
import type { ArmSpec } from './spec.ts';

const spec: ArmSpec = { name: 'baseline', model: 'fake.gguf', backend: { name: 'reference' }, plugins: [] };
const load = { spec, prompts: ['hello', 'you'], maxNewTokens: 16 };
const silent = () => {};

describe('load', () => {
  it('reads prompts through the chat template', async () => {
    const report = await createHandlers(async () => fakeArm()).load(load, silent);
    expect(report).toMatchObject({ chatTemplate: true, description: 'a fake' });
    expect(report.promptTokens).toEqual(['<hello>', '<you>'].map(characterTokenizer.encode));
  });

  it('takes them as they are where the model has no template', async () => {
    const tokenizer = {
      encodeChat: () => {
        throw new LlmoptError('LLMOPT_CHAT_TEMPLATE', 'none');
      },
    };
    const report = await createHandlers(async () => fakeArm({ tokenizer })).load(load, silent);
    expect(report.chatTemplate).toBe(false);
    expect(report.promptTokens).toEqual(['hello', 'you'].map(characterTokenizer.encode));
  });

  it('refuses a prompt that would not fit, by number', async () => {
    const handlers = createHandlers(async () => fakeArm({ contextLength: 22 }));
    await expect(handlers.load(load, silent)).rejects.toMatchObject({
      code: 'LLMOPT_PROMPT_TOO_LONG',
      message: expect.stringContaining('Prompt 1 has 7 tokens; with 16 new ones it exceeds the context of 22'),
    });
  });
});

describe('run, profile, cpu and quality', () => {
  it('reports usage, time and memory', async () => {
    const handlers = createHandlers(async () => fakeArm());
    await handlers.load(load, silent);
    const report = await handlers.run({ prompt: 1, maxNewTokens: 16, ignoreEndToken: true }, silent);
    expect(report).toMatchObject({ usage: { inputTokens: 5, outputTokens: 16 }, text: 'a'.repeat(16), kvBytes: 4096 });
    expect(report.residentBytes).toBeGreaterThan(1e6);
  });

  it('reads only the beginning of a prompt where asked to', async () => {
    const handlers = createHandlers(async () => fakeArm());
    await handlers.load(load, silent);
    const report = await handlers.run({ prompt: 1, promptTokens: 3, maxNewTokens: 2, ignoreEndToken: true }, silent);
    expect(report.usage).toMatchObject({ inputTokens: 3, outputTokens: 2 });
  });

  it('profiles only the steps behind the prompt', async () => {
    const handlers = createHandlers(async () => fakeArm());
    await handlers.load(load, silent);
    await handlers.run({ prompt: 0, maxNewTokens: 16, ignoreEndToken: true }, silent);
    expect(await handlers.profile({ prompt: 0, steps: 8 }, silent)).toMatchObject({ steps: 8, stepMilliseconds: 8 });
  });

  it('tells its CPU time', async () => {
    const before = await createHandlers(async () => fakeArm()).cpu(undefined, silent);
    for (const end = performance.now() + 30; performance.now() < end; );
    const after = await createHandlers(async () => fakeArm()).cpu(undefined, silent);
    expect(after.userSeconds + after.systemSeconds).toBeGreaterThan(before.userSeconds + before.systemSeconds);
  });

  it('measures quality with two pipelines of its own and disposes of both', async () => {
    const opened = [fakePipeline(), fakePipeline()];
    const handlers = createHandlers(async ({ name }) => ({
      pipeline: opened[name === 'baseline' ? 0 : 1] as Pipeline,
      backend: {},
    }));
    const input = {
      baseline: spec,
      optimized: { ...spec, name: 'optimized' as const },
      text: 'some text',
      maxTokens: 9,
      seed: 0,
    };
    expect((await handlers.quality(input, silent)).scoredTokens).toBe(8);
    expect(opened.map((pipeline) => pipeline.disposed())).toEqual([true, true]);
  });

  it('refuses a prompt that was not loaded', async () => {
    const handlers = createHandlers(async () => fakeArm());
    await expect(handlers.run({ prompt: 0, maxNewTokens: 1, ignoreEndToken: true }, silent)).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
    });
  });
});
