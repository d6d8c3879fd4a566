import { mkdtemp, readdir, readFile, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../test/backends.ts';
import { writeTinyModel } from '../../../test/tinyModel.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import { createPipeline } from '../../pipeline/createPipeline.ts';
import { definePlugin } from '../../plugin/plugin.ts';
import { randomModel } from '../../testing/randomModel.ts';
import { onnx } from './index.ts';
import { loadRuntime } from './runtime.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-onnx-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('files', () => {
  const graph = randomGraph({ width: 72 });
  const tokens = [3, 1, 4, 1, 5];
  let cacheDir: string;
  beforeEach(async () => {
    cacheDir = await mkdtemp(path.join(folder, 'cache-'));
  });
  const compileCached = (of = graph, values = false) =>
    onnx({ threads: 1, values }).compile(of, {
      slots: 1,
      contextLength: 64,
      maxRows: 32,
      kvCache: contiguousKvCache,
      modelKey: 'model',
      cacheDir,
    });
  const written = async () =>
    Promise.all(
      (await readdir(cacheDir)).sort().map(async (name) => [name, (await stat(path.join(cacheDir, name))).mtimeMs]),
    );

  it('are written once, and weights once for all graphs that have them', async () => {
    const first = await compileCached();
    const logits = await forwardAlone(first, tokens);
    await first.dispose();
    const before = await written();
    expect(before.map(([name]) => path.extname(name as string)).sort()).toEqual(['.onnx', '.onnx_data']);

    const again = await compileCached();
    expect(await forwardAlone(again, tokens)).toEqual(logits);
    await again.dispose();
    expect(await written()).toEqual(before);

    await (await compileCached(graph, true)).dispose();
    expect((await written()).length).toBe(3);
    await (await compileCached(randomGraph({ width: 72, seed: 2, layers: 1 }))).dispose();
    expect((await written()).length).toBe(5);
  });

  it('that are cut short are written again', async () => {
    await (await compileCached()).dispose();
    const names = await readdir(cacheDir);
    const intact = await Promise.all(names.map((name) => readFile(path.join(cacheDir, name))));
    for (const name of names) await truncate(path.join(cacheDir, name), 1000);
    await (await compileCached()).dispose();
    expect(await Promise.all(names.map((name) => readFile(path.join(cacheDir, name))))).toEqual(intact);
  });

  it('are gone at the end without a cache folder', async () => {
    const temporary = await mkdtemp(path.join(folder, 'temporary-'));
    vi.stubEnv('TMPDIR', temporary);
    onTestFinished(() => void vi.unstubAllEnvs());
    const executable = await compile(onnx({ threads: 1 }), graph);
    await forwardAlone(executable, tokens);
    await executable.dispose();
    expect(await readdir(temporary)).toEqual([]);
  });
});

describe('what is not there', () => {
  it('an execution provider is refused with those that are', async () => {
    await expect(compile(onnx({ executionProviders: ['abacus', 'cpu'] }), randomGraph())).rejects.toMatchObject({
      code: 'LLMOPT_PROVIDER_MISSING',
      message: expect.stringMatching(/no execution provider "abacus" on this machine; it has cpu/),
    });
  });

  it.each([{ executionProviders: [] }, { executionProviders: [''] }, { threads: 0 }])('%j is no option', (options) => {
    expect(() => onnx(options)).toThrow(expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' }));
  });

  it('onnxruntime-node: the error says how to get it', async () => {
    vi.doMock('onnxruntime-node', () => {
      throw new Error('Cannot find package');
    });
    await expect(loadRuntime()).rejects.toMatchObject({
      code: 'LLMOPT_PACKAGE_MISSING',
      hint: 'Run: npm install onnxruntime-node',
    });
    vi.doUnmock('onnxruntime-node');
  });

  it("a plugin's KV cache, and bit-identical rows: the plan says so", async () => {
    const plugin = (name: string, others: object) => definePlugin({ name, version: '1', fidelity: 'exact', ...others });
    const pipeline = createPipeline({
      model: randomModel(),
      backend: onnx(),
      plugins: [
        plugin('pages', { kvCache: contiguousKvCache }),
        plugin('drafts', { requires: ['invariance'] }),
        plugin('probe', { requires: ['values'] }),
      ],
    });
    await expect(pipeline).rejects.toMatchObject({
      code: 'LLMOPT_PLAN',
      problems: [
        '"pages" brings a KV cache, which the backend "onnx" does not take',
        '"drafts" needs invariance, which the backend "onnx" does not offer',
        '"probe" needs values, which the backend "onnx" does not offer',
      ],
    });
  });
});

it('a pipeline says the same on onnx as on the reference', async () => {
  const model = await writeTinyModel(path.join(folder, 'tiny.gguf'), { seed: 4 });
  const texts = await Promise.all(
    (['reference', onnx({ threads: 1 })] as const).map(async (backend) => {
      await using pipeline = await createPipeline({ model, backend, cacheDir: false });
      const options = { maxNewTokens: 24, ignoreEndToken: true };
      // Two at once share their batches.
      const both = await Promise.all(['hello world', 'in the'].map((prompt) => pipeline.generate(prompt, options)));
      return both.map(({ text }) => text);
    }),
  );
  expect(texts[1]).toEqual(texts[0]);
  expect(texts[0]![0]!.length).toBeGreaterThan(10);
});
