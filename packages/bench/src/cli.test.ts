import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseBenchmarkResult, parseSweepResult, type SweepPoint } from '@llmopt/schema';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../core/test/tinyModel.ts';
import { fakeRecord } from '../test/fakeRecord.ts';
import { assembleResult } from './result.ts';

// The command as it is installed: the test command builds first.
const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url));

let folder = '';
let model = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-cli-'));
  model = await writeTinyModel(join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Run {
  child: ChildProcess;
  output: () => { stdout: string; stderr: string };
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
}

function start(args: readonly string[], cwd = folder): Run {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd,
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<Awaited<Run['ended']>>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  return { child, output: () => ({ stdout, stderr }), ended };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);

/** A benchmark that goes on for long, with a folder of its own, once it is in its timed runs. */
async function startLongRun(...flags: string[]): Promise<Run & { output_: string; cwd: string }> {
  const cwd = await mkdtemp(join(folder, 'long-'));
  const run = start(
    ['--model', model, '--runs', '10000', '--warmup', '0', '--max-new-tokens', '8', '--no-quality', ...flags],
    cwd,
  );
  await until(() => run.output().stderr.includes('Timed runs') || run.child.exitCode !== null);
  await new Promise((resolve) => setTimeout(resolve, 500));
  return { ...run, cwd, output_: join(cwd, 'benchmark_results.json') };
}

describe('llmopt-bench', () => {
  it('measures both arms and leaves a valid result and five charts', async () => {
    const cwd = await mkdtemp(join(folder, 'full-'));
    const args = [
      '--model',
      model,
      '--runs',
      '2',
      '--max-new-tokens',
      '8',
      '--quality-tokens',
      '300',
      '--profile',
      '--threads',
      '2',
      '--peer',
      'transformers-js',
    ];
    const { code, stdout, stderr } = await start(args, cwd).ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });

    const result = parseBenchmarkResult(JSON.parse(await readFile(join(cwd, 'benchmark_results.json'), 'utf8')));
    expect(result.incomplete ?? false).toBe(false);
    expect(result.arms.map(({ name }) => name)).toEqual(['baseline', 'optimized']);
    expect(result.comparison?.decodeSpeedup?.n).toBe(8);
    expect(result.system.memoryBandwidthGBs).toBeGreaterThan(0);
    for (const arm of result.arms) {
      expect(arm.runs).toHaveLength(8);
      expect(arm.runs.every((run) => run.outputTokens === 8)).toBe(true);
      expect(arm.responses).toHaveLength(4);
      expect(arm.quality.perplexity?.mean).toBeGreaterThan(1);
      expect(arm.memory.peakMb?.mean).toBeGreaterThan(1);
      expect(arm.profile?.steps).toBeGreaterThan(0);
    }
    expect(result.arms[1]?.quality.klDivergence?.mean).toBeGreaterThan(0);

    const charts = (await readdir(join(cwd, 'benchmark_plots'))).filter((name) => name.endsWith('.png')).sort();
    expect(charts).toEqual([
      'comprehensive_dashboard.png',
      'improvements.png',
      'memory_comparison.png',
      'time_comparison.png',
      'token_comparison.png',
    ]);
    for (const chart of charts) {
      const bytes = await readFile(join(cwd, 'benchmark_plots', chart));
      expect(bytes.subarray(0, 8)).toEqual(Buffer.from('89504e470d0a1a0a', 'hex'));
    }
    expect(stdout).toContain('decode, tokens per second');
    expect(stdout).toContain('Profile of optimized');
    expect(result.peers).toMatchObject([{ name: 'transformers-js F32', package: '@huggingface/transformers' }]);
    expect(result.peers?.[0]?.runs.every((run) => run.outputTokens === 8)).toBe(true);
    expect(result.peers?.[0]?.responses).toHaveLength(4);
  }, 120_000);

  it('writes what is there when interrupted, and leaves no process behind', async () => {
    const run = await startLongRun();
    const arms = process.platform === 'linux' ? childrenOf(run.child.pid as number) : [];
    run.child.kill('SIGINT');
    const { code, stderr } = await run.ended;
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('marked incomplete') });
    const result = parseBenchmarkResult(JSON.parse(await readFile(run.output_, 'utf8')));
    expect(result.incomplete).toBe(true);
    expect(result.arms[0]?.runs.length).toBeGreaterThan(0);
    expect(await readdir(run.cwd)).toEqual(['benchmark_results.json']);
    if (process.platform === 'linux') {
      expect(arms).toHaveLength(2);
      expect(arms.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    }
  }, 60_000);

  it('has another engine take part, and leaves no process of it behind', async () => {
    const run = await startLongRun(
      '--model',
      await writeTinyModel(join(folder, 'q8.gguf'), { type: 'Q8_0' }),
      '--peer',
      'node-llama-cpp',
    );
    const arms = process.platform === 'linux' ? childrenOf(run.child.pid as number) : [];
    run.child.kill('SIGINT');
    const { code, stderr } = await run.ended;
    expect({ code, stderr }).toMatchObject({ code: 130, stderr: expect.stringContaining('marked incomplete') });
    const { peers } = parseBenchmarkResult(JSON.parse(await readFile(run.output_, 'utf8')));
    expect(peers).toMatchObject([{ name: 'node-llama-cpp Q8_0', file: 'q8.gguf', quantization: 'Q8_0' }]);
    expect(peers?.[0]?.runs.length).toBeGreaterThan(0);
    expect(peers?.[0]?.settingsTried.map(({ name }) => name)).toEqual(expect.arrayContaining(['1 thread', 'default']));
    if (process.platform === 'linux') {
      expect(arms).toHaveLength(3);
      expect(arms.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    }
  }, 120_000);

  it.runIf(process.platform === 'linux')(
    'names an arm that dies and keeps what it had measured',
    async () => {
      const run = await startLongRun();
      process.kill(childrenOf(run.child.pid as number)[1] as number, 'SIGKILL');
      const { code, stderr } = await run.ended;
      expect(code).toBe(1);
      expect(stderr).toContain('LLMOPT_BENCH_FAILED: The process of the optimized arm was ended by SIGKILL');
      expect(parseBenchmarkResult(JSON.parse(await readFile(run.output_, 'utf8'))).incomplete).toBe(true);
    },
    60_000,
  );

  it.each([
    [['--rusn', '3'], /^LLMOPT_OPTION_INVALID: .*--rusn/],
    [['--runs', 'many'], /^LLMOPT_OPTION_INVALID: --runs must be a number, but is 'many'/],
    [['--larosa-sparsity', '1.5'], /^LLMOPT_OPTION_INVALID: larosaSparsity must be/],
    [
      ['--peer', 'llama'],
      /^LLMOPT_OPTION_INVALID: peers must be one of node-llama-cpp, transformers-js, but is 'llama'/,
    ],
    [['--backend', 'tpu'], /^LLMOPT_OPTION_INVALID: backend must be one of wasm, reference, gpu, onnx/],
    [['run'], /^LLMOPT_OPTION_INVALID: Unexpected argument 'run'/],
    [['diff', 'a.json'], /^LLMOPT_OPTION_INVALID: Missing argument B/],
    [['kernels', '--rows', '1,two'], /^LLMOPT_OPTION_INVALID: --rows must be numbers with commas/],
    [['backends', '--request-seconds', '0'], /^LLMOPT_OPTION_INVALID: requestSeconds must be above 0/],
    [['sweep', '--larosa-sparsity', '0.4,1'], /^LLMOPT_OPTION_INVALID: larosaSparsity must be/],
    [['sweep', '--larosa-method', 'layer'], /^LLMOPT_OPTION_INVALID: --larosa-method has 'layer'/],
    [['--larosa-score', 'weighted,magnitude'], /^LLMOPT_OPTION_INVALID: The flags of larosa list more than one/],
    [['kernels', '--shape', '7b'], /^LLMOPT_OPTION_INVALID: shape must be one of 135m, 1b/],
  ])('answers %j with one error, exit code 2, and writes nothing', async (args, message) => {
    const cwd = await mkdtemp(join(folder, 'flags-'));
    const { code, stdout, stderr } = await start(args, cwd).ended;
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(await readdir(cwd)).toEqual([]);
  });

  it('checks the places it will write to before it runs anything', async () => {
    const cwd = await mkdtemp(join(folder, 'places-'));
    await writeFile(join(cwd, 'file'), '');
    const { code, stderr } = await start(['--model', model, '--plots', 'file/plots'], cwd).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^LLMOPT_WRITE_FAILED: file\/plots cannot be written/);
    expect(await readdir(cwd)).toEqual(['file']);
  });

  it('writes nothing for a model that is not there', async () => {
    const cwd = await mkdtemp(join(folder, 'nowhere-'));
    const { code, stderr } = await start(['--model', './nowhere.gguf'], cwd).ended;
    expect(code).toBe(1);
    expect(stderr).toContain('nowhere.gguf');
    expect(await readdir(cwd)).toEqual([]);
  });

  it('compares two results, and fails where the second is surely slower', async () => {
    const cwd = await mkdtemp(join(folder, 'diff-'));
    const write = (name: string, optimized: number) => {
      const record = fakeRecord({ milliseconds: [10, optimized], drift: (run, prompt) => 1 + run + prompt });
      for (const [index, sample] of record.arms[1]?.samples.entries() ?? []) {
        sample.timePerOutputTokenMs *= 1 + index / 1000;
      }
      return writeFile(join(cwd, name), JSON.stringify(assembleResult(record, { incomplete: false })));
    };
    await Promise.all([write('a.json', 8), write('b.json', 10), writeFile(join(cwd, 'broken.json'), '{')]);
    const same = await start(['diff', 'a.json', 'a.json', '--fail-below', '0.95'], cwd).ended;
    expect(same).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('decode speed-up') });
    const worse = await start(['diff', 'a.json', 'b.json', '--fail-below', '0.95'], cwd).ended;
    expect(worse).toMatchObject({ code: 1, stderr: expect.stringMatching(/^LLMOPT_REGRESSION: .* is 0\.800 /) });
    expect(worse.stdout).toContain('worse');
    expect((await start(['diff', 'a.json', 'b.json'], cwd).ended).code).toBe(0);
    const broken = await start(['diff', 'a.json', 'broken.json'], cwd).ended;
    expect(broken).toMatchObject({ code: 1, stderr: expect.stringMatching(/^LLMOPT_RESULT_INVALID: broken\.json is/) });
  });

  it('measures kernels, and can be interrupted', async () => {
    const cwd = await mkdtemp(join(folder, 'kernels-'));
    const flags = ['kernels', '--model', model, '--threads', '1', '--prompt', '8', '--rows', '2', '--larosa', '0.5'];
    const { code, stdout, stderr } = await start([...flags, '--rounds', '2'], cwd).ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toContain('time over one row');
    const result = JSON.parse(await readFile(join(cwd, 'kernels.json'), 'utf8'));
    expect(result.larosa).toHaveLength(1);

    const run = start([...flags, '--rounds', '10000', '--output', 'other.json'], cwd);
    await until(() => run.output().stderr.includes('Decode') || run.child.exitCode !== null);
    run.child.kill('SIGINT');
    expect(await run.ended).toMatchObject({ code: 130, stdout: '', stderr: expect.stringMatching(/Interrupted\.\n$/) });
    expect(await readdir(cwd)).toEqual(['kernels.json']);
  }, 60_000);

  it('sweeps, goes on where it was interrupted, and refuses to do so with other settings', async () => {
    const cwd = await mkdtemp(join(folder, 'sweep-'));
    const flags = ['sweep', '--model', model, '--threads', '1', '--quality-tokens', '100', '--max-new-tokens', '4'];
    const points = ['--larosa-sparsity', '0.4,0.5', '--equal-bytes', '0.25'];
    const read = async () => parseSweepResult(JSON.parse(await readFile(join(cwd, 'sweep.json'), 'utf8')));
    const run = start([...flags, ...points, '--runs', '2'], cwd);
    await until(() => run.output().stderr.includes('Point 3 of 5') || run.child.exitCode !== null);
    run.child.kill('SIGINT');
    expect(await run.ended).toMatchObject({ code: 130, stdout: '', stderr: expect.stringMatching(/Interrupted\.\n$/) });
    expect(await readdir(cwd)).toEqual(['sweep.json']);
    const before = await read();
    expect(before.incomplete).toBe(true);
    expect(before.points.length).toBeGreaterThanOrEqual(2);

    const { code, stdout, stderr } = await start([...flags, ...points, '--runs', '2'], cwd).ended;
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('of 5 points are measured.') });
    expect(stdout).toContain('default, bytes of 0.25');
    const result = await read();
    expect(result.incomplete).toBeUndefined();
    expect(result.points.slice(0, before.points.length)).toEqual(before.points);
    const [float32, int8, , half, equal] = result.points as [
      SweepPoint,
      SweepPoint,
      SweepPoint,
      SweepPoint,
      SweepPoint,
    ];
    expect(float32.toFloat32).toMatchObject({ klDivergence: { mean: 0, n: 100 }, topTokenAgreement: { mean: 1 } });
    expect(int8.toFloat32?.klDivergence.mean).toBeGreaterThan(0);
    expect(int8.toFloat32?.klDivergence.mean).toBeLessThan(half.toFloat32?.klDivergence.mean as number);
    expect(half.toDense?.klDivergence.mean).toBeGreaterThan(0);
    expect(half.time?.decodeSpeedup?.n).toBe(8);
    expect(half.weightBytesPerToken).toBeLessThan(equal.weightBytesPerToken);
    expect(equal.weightBytesPerToken).toBeLessThan(int8.weightBytesPerToken);
    expect((await readdir(cwd)).sort()).toEqual(['benchmark_plots', 'sweep.json']);
    expect((await readdir(join(cwd, 'benchmark_plots'))).sort()).toEqual(['pareto.png', 'pareto.svg']);

    const other = await start([...flags, ...points, '--runs', '3'], cwd).ended;
    expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('runs: 2 there, 3 now') });
    expect(await read()).toEqual(result);
  }, 120_000);

  it('compares another engine in a sweep by its probabilities', async () => {
    const cwd = await mkdtemp(join(folder, 'sweep-peer-'));
    const q8 = await writeTinyModel(join(cwd, 'q8.gguf'), { type: 'Q8_0' });
    const flags = [
      '--larosa-sparsity',
      '0.5',
      '--quality-tokens',
      '100',
      '--max-new-tokens',
      '4',
      '--runs',
      '1',
      '--no-plots',
    ];
    const { code, stderr } = await start(['sweep', '--model', q8, '--peer', 'node-llama-cpp', ...flags], cwd).ended;
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const { points } = parseSweepResult(JSON.parse(await readFile(join(cwd, 'sweep.json'), 'utf8')));
    const peer = points.at(-1);
    expect(peer).toMatchObject({ kind: 'peer', name: 'node-llama-cpp Q8_0', file: 'q8.gguf' });
    // The same weights, with activations in int8: far closer than half of the channels.
    expect(peer?.toFloat32?.klDivergence.n).toBe(100);
    expect(peer?.toFloat32?.klDivergence.mean).toBeLessThan(0.05);
    expect(peer?.toFloat32?.topTokenAgreement.mean).toBeGreaterThan(0.8);
  }, 120_000);

  it('explains itself', async () => {
    const { code, stdout } = await start(['--help']).ended;
    expect(code).toBe(0);
    for (const flag of ['--larosa-sparsity', '--peer', '--no-plots', '--quality-tokens', 'diff', 'kernels'])
      expect(stdout).toContain(flag);
    const kernels = await start(['kernels', '--help']).ended;
    for (const flag of ['--shape', '--rows', '--larosa', '--rounds']) expect(kernels.stdout).toContain(flag);
  });
});
