import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSweepResult, type SweepResult } from '@llmopt/schema';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { PlannedPoint } from './plan.ts';
import { openStore } from './store.ts';

let folder = '';
let file = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-store-'));
  file = join(folder, 'sweep.json');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const system = { cpu: 'x', cores: 2, memoryBytes: 8e9, node: '26.0.0', platform: 'linux-x64' };
const fresh = (settings: object = {}): Omit<SweepResult, 'points'> => ({
  kind: 'sweep',
  schemaVersion: 1,
  createdAt: new Date().toISOString(),
  system,
  model: { name: 'm', architecture: 'llama', parameters: 1, file: 'm.gguf', quantization: 'Q4_1' },
  settings: {
    ...{ precision: 'int8', threads: 2, qualityTokens: 100, prompts: 1, maxNewTokens: 8, runs: 1, warmup: 0, seed: 0 },
    textChecksum: 'abc',
    ...settings,
  },
  baseline: 'dense int8',
});
const point = (sparsity: number, more: Partial<PlannedPoint> = {}): PlannedPoint => ({
  name: `Top-K, ${sparsity}`,
  kind: 'larosa',
  method: 'Top-K',
  sparsity,
  options: { sparsity },
  weightBytesPerToken: 1000 * (1 - sparsity),
  ...more,
});
const planned = [point(0.25), point(0.5)];
const written = async () => parseSweepResult(JSON.parse(await readFile(file, 'utf8')));

describe('openStore', () => {
  it('writes every point as it comes, in the order of the plan, and knows when all are there', async () => {
    const store = await openStore(file, fresh(), planned);
    expect(await readdir(folder)).toEqual([]);
    await store.add(point(0.5));
    expect(await written()).toMatchObject({ incomplete: true, points: [{ name: 'Top-K, 0.5' }] });
    await store.add(point(0.25));
    expect((await written()).points.map(({ name }) => name)).toEqual(['Top-K, 0.25', 'Top-K, 0.5']);
    expect((await written()).incomplete).toBeUndefined();
    expect(await readdir(folder)).toEqual(['sweep.json']);
  });

  it('goes on where it was interrupted, also with more points than before', async () => {
    await (await openStore(file, fresh(), planned)).add({ ...point(0.25), found: 7 });
    const more = [...planned, point(0.6)];
    const store = await openStore(file, fresh(), more);
    expect(more.filter((each) => !store.has(each)).map(({ sparsity }) => sparsity)).toEqual([0.5, 0.6]);
    await store.add(point(0.5));
    expect(await written()).toMatchObject({ incomplete: true, points: [{ found: 7 }, { sparsity: 0.5 }] });
  });

  it('keeps points that nobody asks for any more', async () => {
    await (await openStore(file, fresh(), planned)).add(point(0.5));
    await (await openStore(file, fresh(), [point(0.25)])).add(point(0.25));
    expect((await written()).points.map(({ sparsity }) => sparsity)).toEqual([0.25, 0.5]);
    expect((await written()).incomplete).toBeUndefined();
  });

  it('refuses to go on with other settings, and leaves the file as it is', async () => {
    await (await openStore(file, fresh(), planned)).add(point(0.25));
    const before = await readFile(file, 'utf8');
    await expect(openStore(file, fresh({ runs: 5, textChecksum: 'def' }), planned)).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringMatching(
        /made with other settings:.*runs: 1 there, 5 now.*textChecksum: "abc" there, "def" now/s,
      ),
    });
    const otherMachine = { ...fresh(), system: { ...system, cpu: 'y' } };
    await expect(openStore(file, otherMachine, planned)).rejects.toThrow(/system.cpu: "x" there, "y" now/);
    expect(await readFile(file, 'utf8')).toBe(before);
  });

  it('refuses a point that goes by the same name and is another one', async () => {
    await (await openStore(file, fresh(), planned)).add({ ...point(0.25), calibrationChecksum: 'a' });
    for (const changed of [{ calibrationChecksum: 'b' }, { options: { sparsity: 0.25, score: 'weighted' } }]) {
      const again = [point(0.25, { calibrationChecksum: 'a', ...changed })];
      await expect(openStore(file, fresh(), again)).rejects.toMatchObject({
        code: 'LLMOPT_OPTION_INVALID',
        message: expect.stringContaining("'Top-K, 0.25' is another point than now"),
      });
    }
  });

  it.each(['{', '[]', '{"schemaVersion": 1, "arms": []}'])('refuses a file that holds %s', async (text) => {
    await writeFile(file, text);
    await expect(openStore(file, fresh(), planned)).rejects.toMatchObject({
      code: 'LLMOPT_RESULT_INVALID',
      message: expect.stringContaining('is not the result of a sweep'),
    });
    expect(await readFile(file, 'utf8')).toBe(text);
  });
});
