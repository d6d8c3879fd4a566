import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseBenchmarkResult } from '@llmopt/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { type BackendsResult, isMeasured } from './figures.ts';

// The command as it is installed: the test command builds first.
const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

let folder = '';
let model = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-backends-'));
  model = await writeTinyModel(join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Makes every process of the command believe that a package is not installed. */
function without(name: string): Record<string, string> {
  const hook = `import { registerHooks } from 'node:module';
    registerHooks({ resolve(specifier, context, next) {
      if (specifier === '${name}') throw new Error("Cannot find package '${name}'");
      return next(specifier, context);
    } });`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
}

async function run(args: readonly string[], env: Record<string, string> = {}) {
  const cwd = await mkdtemp(join(folder, 'run-'));
  const child = spawn(process.execPath, [cli, ...args, '--model', model, '--runs', '2', '--max-new-tokens', '4'], {
    cwd,
    env: { ...process.env, LLMOPT_CACHE: join(folder, 'cache'), NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { cwd, code, ...texts };
}

describe('llmopt-bench backends', () => {
  it('has figures for what works, and the reason for what does not', async () => {
    const args = ['backends', '--quality-tokens', '40'];
    const { cwd, code, stdout, stderr } = await run(args, without('onnxruntime-node'));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(await readdir(cwd)).toEqual(['backends.json']);
    const result: BackendsResult = JSON.parse(await readFile(join(cwd, 'backends.json'), 'utf8'));
    expect(result).toMatchObject({
      kind: 'backends',
      model: { name: 'tiny.gguf', architecture: 'llama' },
      settings: { prompts: 4, runs: 2, maxNewTokens: 4, qualityTokens: 40 },
    });
    const [int8, float32, onnx, gpu, reference] = result.backends;
    expect(onnx).toMatchObject({
      title: 'onnx float32',
      code: 'LLMOPT_PACKAGE_MISSING',
      reason: expect.stringContaining('npm install onnxruntime-node'),
    });
    expect(gpu).toMatchObject({ name: 'gpu', settings: { device: expect.any(String) } });
    // Float32 differs from the reference by rounding alone.
    for (const [row, most] of [
      [int8, 0.05],
      [float32, 1e-6],
      [gpu, 1e-6],
    ] as const) {
      expect(row && isMeasured(row) && row.runs.length).toBeGreaterThanOrEqual(2);
      expect(row && isMeasured(row) && row.quality?.klDivergence.mean).toBeLessThan(most);
    }
    expect(reference && isMeasured(reference) && reference.quality).toBeUndefined();
    for (const text of ['wasm int8', 'wasm float32', 'gpu (', 'reference', 'The onnx backend needs']) {
      expect(stdout).toContain(text);
    }
  }, 180_000);

  it('explains itself', async () => {
    const { code, stdout } = await run(['backends', '--help']);
    expect(code).toBe(0);
    for (const flag of ['--request-seconds', '--larosa-sparsity', '--quality-tokens', '--output']) {
      expect(stdout).toContain(flag);
    }
  });
});

describe('llmopt-bench --backend', () => {
  it.each([
    ['onnx', 'onnxruntime-node', 'npm install onnxruntime-node'],
    ['gpu', 'gpu.js', 'npm install gpu.js webgpu'],
  ])('%s without its package is one message, before anything else', async (backend, name, hint) => {
    const { cwd, code, stdout, stderr } = await run(['--backend', backend], without(name));
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    const [trying, message, ...rest] = stderr.trim().split('\n');
    expect(trying).toBe(`Trying the ${backend} backend`);
    expect(message).toMatch(/^LLMOPT_PACKAGE_MISSING: /);
    expect(message).toContain(hint);
    expect(rest).toEqual([]);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('onnx measures both arms, and says what computed', async () => {
    const { cwd, code, stdout, stderr } = await run(['--backend', 'onnx', '--quality-tokens', '100', '--no-plots']);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const result = parseBenchmarkResult(JSON.parse(await readFile(join(cwd, 'benchmark_results.json'), 'utf8')));
    expect(result.settings).toMatchObject({
      backend: 'onnx',
      precision: 'float32',
      backendSettings: { executionProviders: 'cpu' },
    });
    expect(result.arms.map(({ runs }) => runs.length)).toEqual([8, 8]);
    expect(result.arms[1]?.quality.klDivergence?.mean).toBeGreaterThan(0);
    expect(stdout).toContain('onnx float32 (cpu)');
  }, 120_000);
});
