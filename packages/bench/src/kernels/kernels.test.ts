import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { kernelsReport } from '../report/kernelsTable.ts';
import { runKernels } from './kernels.ts';

let folder = '';
let model = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-kernels-'));
  process.env.LLMOPT_CACHE = join(folder, 'cache');
  model = await writeTinyModel(join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('runKernels', () => {
  it('measures everything it says, and writes what it returns', async () => {
    const output = join(folder, 'out', 'kernels.json');
    const options = { model, threads: 2, rows: [2], prompt: 20, larosa: [0.4, 0.5], rounds: 2, output };
    const result = await runKernels(options);
    expect(JSON.parse(await readFile(output, 'utf8'))).toEqual(JSON.parse(JSON.stringify(result)));
    expect(result.settings).toEqual({ threads: 2, prompt: 20, rounds: 2 });
    const { seconds, packed, peakBytes, peakOverWeights } = result.load;
    expect(seconds).toBeGreaterThan(0);
    expect(packed).toBe(true);
    // More than the weights, less than the machine has.
    expect(peakBytes).toBeGreaterThan(result.model.weightsBytes);
    expect(peakBytes).toBeLessThan(result.system.memoryBytes);
    expect(peakOverWeights).toBe(peakBytes / result.model.weightsBytes);
    const { before, after, best } = result.readBandwidthGBs;
    expect(Math.max(before, after)).toBe(best);
    expect(result.system.memoryBandwidthGBs).toBe(best);
    expect(result.processorShare).toBeGreaterThan(0);
    expect(result.rows.map(({ rows, milliseconds, ratio }) => [rows, milliseconds.n, ratio.n])).toEqual([
      [1, 2, 2],
      [2, 2, 2],
    ]);
    expect(result.rows[0]?.ratio.mean).toBe(1);
    expect(result.larosa.map(({ sparsity, decodeSpeedup }) => [sparsity, decodeSpeedup.n])).toEqual([
      [0.4, 2],
      [0.5, 2],
    ]);
    const { weightBytes, weightGBs, shareOfReadBandwidth, milliseconds } = result.decode;
    // All that is packed but the norms' gains, which are vectors.
    expect(weightBytes).toBeLessThan(result.model.weightsBytes);
    expect(weightBytes).toBeGreaterThan(result.model.weightsBytes * 0.9);
    expect(weightGBs).toBeCloseTo(weightBytes / milliseconds.median / 1e6);
    expect(shareOfReadBandwidth).toBeCloseTo(weightGBs / best);
    expect(result.prefill.tokensPerSecond).toBeCloseTo(512_000 / result.prefill.milliseconds.median);

    const names = result.profiles.map(({ name }) => name);
    expect(names).toEqual(['dense, decode', 'dense, prefill', 'larosa 0.4, decode', 'larosa 0.5, decode']);
    for (const { kernels } of result.profiles) {
      expect(kernels.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
      const linears = kernels.filter(({ shape }) => shape !== undefined);
      expect(linears.length).toBeGreaterThanOrEqual(4);
      for (const linear of linears) expect(linear.gigabytesPerSecond).toBeGreaterThan(0);
    }
    const report = kernelsReport(result);
    for (const text of [
      'tiny.gguf',
      'packing the weights',
      'peak memory while loading',
      'share of the read loop',
      'time over one row',
      'LaRoSA',
      'larosa 0.5, decode',
    ])
      expect(report).toContain(text);
  });

  it('stops when asked to, and writes nothing', async () => {
    const cwd = await mkdtemp(join(folder, 'stopped-'));
    const controller = new AbortController();
    const stages: string[] = [];
    const reporter = {
      stage: (title: string) => {
        stages.push(title);
        if (title === 'Decode') controller.abort();
      },
      progress() {},
      note() {},
      end: () => stages.push('end'),
    };
    const running = runKernels({ model, output: join(cwd, 'kernels.json') }, { reporter, signal: controller.signal });
    await expect(running).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(stages.slice(-2)).toEqual(['Decode', 'end']);
    expect(await readdir(cwd)).toEqual([]);
  });
});
