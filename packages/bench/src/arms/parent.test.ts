import { afterEach, describe, expect, it } from 'vitest';
import { characterTokenizer } from '../../test/fakePipeline.ts';
import { type ArmProcess, startArm } from './parent.ts';

const entry = new URL('../../test/fakeArm.ts', import.meta.url);
const loadOf = (model: string, prompts = ['hello']) => ({
  spec: { name: 'baseline' as const, model, backend: { name: 'reference' as const }, plugins: [] },
  prompts,
  maxNewTokens: 4,
});
const alive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const started: ArmProcess[] = [];
const start = (options: Parameters<typeof startArm>[1] = {}) => {
  const arm = startArm('baseline', { entry, ...options });
  started.push(arm);
  return arm;
};
afterEach(async () => {
  await Promise.all(started.splice(0).map((arm) => arm.stop()));
});

describe('startArm', () => {
  it('answers calls from another process, with progress', async () => {
    const arm = start();
    const stages: string[] = [];
    const report = await arm.call('load', loadOf('fake'), { onProgress: ({ stage }) => stages.push(stage) });
    expect(report.promptTokens).toEqual([characterTokenizer.encode('<hello>')]);
    expect(stages).toEqual(['load']);
    const run = await arm.call('run', { prompt: 0, maxNewTokens: 4, ignoreEndToken: true });
    expect(run.usage.outputTokens).toBe(4);
    expect(arm.pid).not.toBe(process.pid);
  });

  it('keeps code and message of typed errors, and wraps others', async () => {
    const arm = start();
    await expect(arm.call('run', { prompt: 3, maxNewTokens: 4, ignoreEndToken: true })).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: 'Prompt 3 was not loaded.',
    });
    await expect(arm.call('load', loadOf('throws'))).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: 'The baseline arm failed: a bug',
    });
  });

  it('names the arm that dies and quotes its last words', async () => {
    const arm = start();
    await expect(arm.call('load', loadOf('dies'))).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: expect.stringMatching(/baseline arm ended with exit code 7.*\nout of luck/s),
    });
    await expect(arm.call('cpu', undefined)).rejects.toMatchObject({ code: 'LLMOPT_BENCH_FAILED' });
  });

  it('ends when stopped, and pending calls reject as aborted', async () => {
    const arm = start();
    const pending = arm.call('load', loadOf('hangs'));
    const rejected = expect(pending).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    await arm.stop();
    await rejected;
    expect(alive(arm.pid)).toBe(false);
  });

  it('kills a process that takes too long, and says so', async () => {
    const arm = start();
    await expect(arm.call('load', loadOf('hangs'), { timeoutMs: 300 })).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: "The baseline arm did not answer 'load' within 0.3 s.",
    });
    await arm.stop();
    expect(alive(arm.pid)).toBe(false);
  });

  it('gives the process its environment', async () => {
    const arm = start({ env: { LLMOPT_FAKE: 'throws' } });
    await expect(arm.call('load', loadOf('fake'))).rejects.toThrow('a bug');
  });

  it('ends with its signal', async () => {
    const controller = new AbortController();
    const arm = start({ signal: controller.signal });
    const rejected = expect(arm.call('load', loadOf('hangs'))).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    controller.abort();
    await rejected;
    await arm.stop();
    expect(alive(arm.pid)).toBe(false);
  });

  it('does not outlive an error in its entry', async () => {
    const arm = start({ entry: new URL('file:///nowhere/arm.js') });
    await expect(arm.call('cpu', undefined)).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: expect.stringContaining('nowhere'),
    });
  });
});
