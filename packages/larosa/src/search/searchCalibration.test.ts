import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buildGraph, createPipeline, type ErrorCode, openCheckpoint } from '@llmopt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixturePath } from '../../../core/test/architectureFixtures.ts';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { siteSizes, skippedBy, weightsOf } from '../budget/bytes.ts';
import { defaultCoefficients } from '../budget/coefficients.ts';
import { openCalibration } from '../calibration/artefact.ts';
import { type CalibrateOptions, calibrate } from '../calibration/calibrate.ts';
import { type LarosaOptions, larosa } from '../larosa.ts';

let folder: string;
let model: string;
const text = 'hello world, and all the others of the world in one hello. '.repeat(40);

const options = (more: CalibrateOptions = {}): CalibrateOptions => ({
  ...{ model, text, tokens: 320, window: 64, samples: 40, cacheDir: path.join(folder, 'cache') },
  search: { sparsities: [0.5, 0.3], candidates: 8, tokens: 128 },
  ...more,
});

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'larosa-search-'));
  model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('calibrate with a search', () => {
  it('keeps budgets that are exact in bytes, and the same again', async () => {
    const { path: file, calibration } = await calibrate(options());
    const found = (await calibration.searched())!;
    expect(calibration.settings.search).toEqual({ sparsities: [0.3, 0.5], seconds: 300, candidates: 8, tokens: 128 });
    expect(found.sparsities).toEqual([0.3, 0.5]);
    const checkpoint = await openCheckpoint(model, { cacheDir: false });
    const graph = buildGraph(checkpoint);
    const sizes = siteSizes(graph);
    for (const [i, sparsity] of found.sparsities.entries()) {
      const kept = found.kept.subarray(i * sizes.length, (i + 1) * sizes.length);
      const missing = weightsOf(sizes, sparsity) - skippedBy(sizes, kept);
      expect(missing).toBeGreaterThanOrEqual(0);
      expect(missing).toBeLessThan(Math.min(...sizes.map(({ outputs }) => outputs)));
      const [fixed, best] = found.divergences.subarray(i * 2, i * 2 + 2);
      expect(best).toBeLessThanOrEqual(fixed!);
      expect(best).toBeGreaterThan(0);
    }
    const listsOf = async (options: Partial<LarosaOptions>) => {
      const rewritten = await larosa({ sparsity: 0.5, calibration: file, ...options }).graph!(graph);
      return rewritten.ops.flatMap((op) => (op.kind === 'larosa.sparsify' ? [op.attributes.keep] : []));
    };
    const searched = [...found.kept.subarray(sizes.length)];
    expect(await listsOf({ budget: 'searched' })).toEqual(searched);
    // It is the default, but not against what was said.
    expect(await listsOf({})).toEqual(searched);
    const coefficients = { attentionInput: 1, attentionOutput: 1, ffnInput: 1, ffnMiddle: 1 };
    expect(await listsOf({ coefficients })).toEqual(await listsOf({ budget: 'uniform' }));
    expect(await listsOf({ budget: 'coefficients' })).toEqual(await listsOf({ coefficients: defaultCoefficients }));
    await checkpoint.close();

    const again = await calibrate(options({ out: path.join(folder, 'again.safetensors') }));
    expect(again.calibration.checksum).toBe(calibration.checksum);
    expect((await calibrate(options())).cached).toBe(true);
    // Nothing but the calibration stays, and the weights of the dense model.
    expect(await readdir(path.join(folder, 'cache', 'larosa'))).toEqual([path.basename(file)]);
  });

  it('changes no other number', async () => {
    const without = (await calibrate(options({ search: false }))).calibration;
    const { calibration } = await calibrate(options());
    expect(await without.searched()).toBeUndefined();
    expect(await calibration.costs()).toEqual(await without.costs());
    expect(await calibration.moments([1])).toEqual(await without.moments([1]));
  });

  it('leaves nothing behind when it is aborted', async () => {
    const cacheDir = path.join(folder, 'aborted');
    const abort = new AbortController();
    const running = calibrate(
      options({ cacheDir, signal: abort.signal, onProgress: ({ stage }) => stage === 'search' && abort.abort() }),
    );
    await expect(running).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await readdir(path.join(cacheDir, 'larosa')).catch(() => [])).toEqual([]);
  });

  it('keeps the fixed coefficients where there is no time', async () => {
    const { calibration } = await calibrate(options({ search: { seconds: 1e-6, tokens: 64 } }));
    const { divergences, sparsities } = (await calibration.searched())!;
    expect(sparsities).toEqual([0.25, 0.4, 0.5]);
    expect([...divergences].every(Number.isNaN)).toBe(true);
  });

  it('searches a model whose residual stream cannot be rotated', async () => {
    const phi = fixturePath('phi', 'model.gguf');
    const search = { candidates: 3, tokens: 32 };
    const { calibration } = await calibrate(options({ model: phi, text: 'self', tokens: 512, window: 32, search }));
    expect(Number.isNaN((await calibration.searched())!.divergences[0])).toBe(false);
  });

  it.each<[name: string, more: CalibrateOptions, code: ErrorCode, message: RegExp]>([
    ['a sparsity of 1', { search: { sparsities: [0.4, 1] } }, 'LLMOPT_OPTION_INVALID', /sparsities \[0.4, 1\]/],
    ['no sparsity', { search: { sparsities: [] } }, 'LLMOPT_OPTION_INVALID', /sparsities \[\]/],
    ['no time', { search: { seconds: 0 } }, 'LLMOPT_OPTION_INVALID', /seconds of the search is 0/],
    ['half a candidate', { search: { candidates: 1.5 } }, 'LLMOPT_OPTION_INVALID', /candidates of the search is 1.5/],
    ['a text that leaves none for it', { search: { tokens: 100_000 } }, 'LLMOPT_CALIBRATION_TOO_SHORT', /100320/],
  ])('refuses %s', async (_, more, code, message) => {
    await expect(calibrate(options(more))).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('refuses a search of a pipeline', async () => {
    await using pipeline = await createPipeline({ model, cacheDir: false });
    const { model: _, ...rest } = options();
    await expect(calibrate({ ...rest, pipeline })).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
  });
});

it('has one clear error for a calibration without a search, and for none', async () => {
  const { path: calibration } = await calibrate(options({ search: false }));
  const checkpoint = await openCheckpoint(model, { cacheDir: false });
  const graph = buildGraph(checkpoint);
  await expect(larosa({ sparsity: 0.4, budget: 'searched', calibration }).graph!(graph)).rejects.toMatchObject({
    code: 'LLMOPT_OPTION_INVALID',
    message: expect.stringContaining('larosa: budget is searched, but the calibration has no search.'),
  });
  expect((await openCalibration(calibration, graph)).settings.search).toBeUndefined();
  expect(() => larosa({ sparsity: 0.4, budget: 'searched' })).toThrow(/budget: searched needs a calibration/);
  await checkpoint.close();
});
