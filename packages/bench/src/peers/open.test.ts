import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { LlmoptError, openGguf } from '@llmopt/core';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import type { ArmProcess } from '../arms/parent.ts';
import { silentReporter } from '../report/reporter.ts';
import { findEngines, openPeer, targetsOf } from './open.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-peers-'));
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('findEngines', () => {
  it('knows the version of what is installed', async () => {
    expect(await findEngines(['node-llama-cpp', 'transformers-js'])).toEqual([
      { name: 'node-llama-cpp', package: 'node-llama-cpp', version: expect.stringMatching(/^\d+\.\d+\.\d+/) },
      {
        name: 'transformers-js',
        package: '@huggingface/transformers',
        version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      },
    ]);
  });

  it('says what to install when a package is missing', async () => {
    await expect(findEngines(['node-llama-cpp'], 'file:///nowhere/module.js')).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining('not installed. Run: npm install node-llama-cpp'),
    });
  });
});

describe('targetsOf', () => {
  const engine = { name: 'node-llama-cpp', package: 'node-llama-cpp', version: '1.2.3' } as const;
  const options = { reporter: silentReporter };

  it('takes the original and a Q8_0 copy, which is written once per content', async () => {
    vi.stubEnv('LLMOPT_CACHE', join(folder, 'cache'));
    const [first, second] = await Promise.all(
      [1, 2].map((seed) => writeTinyModel(join(folder, `${seed}.gguf`), { seed })),
    );
    const [copy, original] = await targetsOf(engine, { file: first as string, quantization: 'F32' }, options);
    expect(original).toMatchObject({ name: 'node-llama-cpp original', file: first, quantization: 'F32' });
    expect(copy).toMatchObject({ name: 'node-llama-cpp Q8_0', quantization: 'Q8_0', version: '1.2.3' });
    const checkpoint = await openGguf(copy?.file as string, { cacheDir: false });
    const matrices = [...checkpoint.tensors.values()].filter(({ shape }) => shape.length > 1);
    expect(new Set(matrices.map(({ type }) => type))).toEqual(new Set(['Q8_0']));
    await checkpoint.close();

    const models = () => readdir(join(folder, 'cache', 'models'));
    expect(await models()).toEqual([basename(copy?.file as string)]);
    await targetsOf(engine, { file: first as string, quantization: 'F32' }, options);
    expect(await models()).toHaveLength(1);
    await targetsOf(engine, { file: second as string, quantization: 'F32' }, options);
    expect(await models()).toHaveLength(2);
  });

  it('leaves nothing behind when it is stopped', async () => {
    vi.stubEnv('LLMOPT_CACHE', join(folder, 'stopped'));
    const file = await writeTinyModel(join(folder, 'stopped.gguf'), { seed: 3 });
    const run = targetsOf(engine, { file, quantization: 'F32' }, { ...options, signal: AbortSignal.abort() });
    await expect(run).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await readdir(join(folder, 'stopped', 'models'))).toEqual([]);
  });

  it('writes a folder with an ONNX model for transformers.js, once per content', async () => {
    vi.stubEnv('LLMOPT_CACHE', join(folder, 'onnx'));
    const file = await writeTinyModel(join(folder, 'onnx.gguf'), { seed: 5 });
    const transformers = { ...engine, name: 'transformers-js', package: '@huggingface/transformers' } as const;
    const [target, ...others] = await targetsOf(transformers, { file, quantization: 'F32' }, options);
    expect(target).toMatchObject({ engine: 'transformers-js', name: 'transformers-js F32', quantization: 'F32' });
    expect(others).toEqual([]);
    expect(await readdir(target?.file as string)).toContain('tokenizer.json');
    const before = await stat(join(target?.file as string, 'onnx', 'model.onnx'));
    await targetsOf(transformers, { file, quantization: 'F32' }, options);
    expect((await stat(join(target?.file as string, 'onnx', 'model.onnx'))).mtimeMs).toBe(before.mtimeMs);
    expect(await readdir(join(folder, 'onnx', 'models'))).toHaveLength(1);
  });

  it('takes a Q8_0 file as it is', async () => {
    const targets = await targetsOf(engine, { file: '/m/a.gguf', quantization: 'Q8_0' }, options);
    expect(targets).toMatchObject([{ name: 'node-llama-cpp Q8_0', file: '/m/a.gguf' }]);
  });
});

describe('openPeer', () => {
  const target = {
    engine: 'node-llama-cpp' as const,
    name: 'node-llama-cpp Q8_0',
    package: 'node-llama-cpp',
    version: '1.2.3',
    file: '/m/a.gguf',
    quantization: 'Q8_0',
  };

  it('loads the setting that decodes fastest, and gives its calls a limit', async () => {
    const limits: (number | undefined)[] = [];
    const alive = new Set<ArmProcess>();
    const start = (name: string, { threads = 0 }: { threads?: number }) => {
      const arm: ArmProcess = {
        name,
        pid: 0,
        stop: async () => void alive.delete(arm),
        async call(call, _, { timeoutMs } = {}) {
          limits.push(timeoutMs);
          if (threads === 0) throw new LlmoptError('LLMOPT_BENCH_FAILED', 'it hangs');
          if (call === 'loadPeer') return { loadSeconds: 1, settings: { threads } } as never;
          return { timings: { timePerOutputTokenMs: threads, prefillTokensPerSecond: 100 } } as never;
        },
      };
      alive.add(arm);
      return arm;
    };
    const { arm, record } = await openPeer(target, {
      prompts: [[1, 2]],
      maxNewTokens: 8,
      reporter: silentReporter,
      start,
    });
    expect(record).toMatchObject({ file: 'a.gguf', setting: { name: '1 thread' }, load: { settings: { threads: 1 } } });
    expect(record.calibration.tried.at(-1)).toMatchObject({ setting: { name: 'default' }, failure: 'it hangs' });
    expect(alive.size).toBe(1);
    limits.length = 0;
    await arm.call('run', { prompt: 0, maxNewTokens: 8, ignoreEndToken: true });
    expect(limits).toEqual([60_000]);
  });
});
