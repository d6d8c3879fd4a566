import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseBenchmarkResult } from '@llmopt/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RepositoryHub, startRepositoryHub } from '../../core/test/repositoryHub.ts';

// The command as it is installed: the test command builds first.
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));
const fixture = new URL('../../core/test/fixtures/architectures/phi/', import.meta.url);
const files = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

let folder = '';
let hub: RepositoryHub;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-hub-'));
  const content = await Promise.all(files.map(async (name) => [name, await readFile(new URL(name, fixture))] as const));
  hub = await startRepositoryHub(Object.fromEntries(content), { repo: 'microsoft/phi-2' });
  await writeFile(join(folder, 'prompts.txt'), 'the river\n');
});
afterAll(async () => {
  await hub.stop();
  await rm(folder, { recursive: true, force: true });
});

async function bench(args: readonly string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd: folder,
    env: {
      ...process.env,
      LLMOPT_CACHE: join(folder, 'cache'),
      HF_ENDPOINT: hub.endpoint,
      HF_TOKEN: '',
      NO_COLOR: '1',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout.resume();
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stderr };
}

describe('llmopt-bench --model microsoft/phi-2', () => {
  const args = ['--model', 'microsoft/phi-2', '--larosa-sparsity', '0.4', '--prompts', 'prompts.txt', '--runs', '2'];
  const small = ['--max-new-tokens', '4', '--quality-tokens', '100', '--no-plots', '--peer', 'node-llama-cpp'];

  it('says what a gated model asks for', async () => {
    hub.token = 'token-of-a-friend';
    const { code, stderr } = await bench([...args, ...small]);
    hub.token = undefined;
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /LLMOPT_ACCESS_DENIED: Getting microsoft\/phi-2 failed: 127\.0\.0\.1:\d+ answered 401.*HF_TOKEN/,
    );
  }, 60_000);

  it('gets the model from the hub and measures both arms', async () => {
    hub.requests.length = 0;
    const { code, stderr } = await bench([...args, ...small]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(hub.requests.filter(({ host, path }) => host === 'hub' && path.includes('/resolve/'))).toHaveLength(
      files.length,
    );
    const result = parseBenchmarkResult(JSON.parse(await readFile(join(folder, 'benchmark_results.json'), 'utf8')));
    expect(result.model).toMatchObject({ name: 'microsoft/phi-2', architecture: 'phi', quantization: 'F32' });
    expect(result.arms.map(({ name, runs }) => [name, runs.length])).toEqual([
      ['baseline', 2],
      ['optimized', 2],
    ]);
    expect(result.arms[1]?.quality.klDivergence?.mean).toBeGreaterThan(0);
    expect(result.skippedPeers).toMatchObject([
      { name: 'node-llama-cpp', reason: expect.stringContaining('needs a GGUF file') },
    ]);
  }, 120_000);

  it('needs no hub after that', async () => {
    const count = hub.requests.length;
    const { code, stderr } = await bench([...args, ...small, '--no-quality'], { HF_HUB_OFFLINE: '1' });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(hub.requests).toHaveLength(count);
  }, 120_000);
});
