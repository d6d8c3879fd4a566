import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  buildGraph,
  checkGraph,
  createPipeline,
  type ErrorCode,
  openCheckpoint,
  openSafetensors,
  wasm,
  writeSafetensors,
} from '@llmopt/core';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixturePath } from '../../../core/test/architectureFixtures.ts';
import { compile, randomGraph } from '../../../core/test/backends.ts';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { larosa } from '../larosa.ts';
import { openCalibration, writeArtefact } from './artefact.ts';
import { type CalibrateOptions, calibrate } from './calibrate.ts';

let folder: string;
let model: string;
let artefact: string;
const text = 'hello world, and all the others of the world in one hello. '.repeat(40);

const options = (more: CalibrateOptions = {}): CalibrateOptions => ({
  ...{ model, text, tokens: 320, window: 64, samples: 40, search: false as const },
  cacheDir: path.join(folder, 'cache'),
  ...more,
});

async function graphOf(file: string) {
  const checkpoint = await openCheckpoint(file, { cacheDir: false });
  return { graph: buildGraph(checkpoint), close: () => checkpoint.close() };
}

/** The code and message of what opening a file throws. */
async function refusal(file: string, of = model): Promise<{ code: ErrorCode; message: string }> {
  const { graph, close } = await graphOf(of);
  try {
    await openCalibration(file, graph);
  } catch (error) {
    return error as { code: ErrorCode; message: string };
  } finally {
    await close();
  }
  throw new Error('It was opened.');
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'larosa-'));
  model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
  artefact = (await calibrate(options())).path;
});
afterAll(() => rm(folder, { recursive: true }));

describe('calibrate', () => {
  it('sees what the layers see', async () => {
    const { graph, close } = await graphOf(model);
    const { calibration } = await calibrate(options({ out: path.join(folder, 'all.safetensors'), samples: 320 }));
    const executable = await compile(wasm({ threads: 1, precision: 'float32' }), graph, { maxRows: 64, slots: 8 });
    await using pipeline = await createPipeline({ model, cacheDir: false });
    const tokens = pipeline.tokenizer.encode(text).slice(0, 320);
    // Rows of one window; where in the sample they are, calibration alone knows.
    const slot = executable.kv.acquire()!;
    const rows = Array.from({ length: 64 }, (_, row) => row);
    const { values } = await executable.forward({
      ...{ tokens: tokens.slice(0, 64), slots: rows.map(() => slot), positions: rows, logits: [] },
      values: [
        { name: '1.gated', rows },
        { name: '1.attention', rows },
        { name: '1.ffnNorm', rows },
        { name: '1.middle', rows },
      ],
    });
    // All rows were kept, so they are in their order.
    const near = (actual: Float32Array, expected: Float32Array) => {
      const largest = Math.max(...expected.map(Math.abs));
      for (const [i, x] of expected.entries()) expect(Math.abs(actual[i]! - x) / largest).toBeLessThan(0.02);
    };
    near((await calibration.activations(1, 'ffnMiddle'))!, values['1.gated']!);
    near((await calibration.activations(1, 'attentionOutput'))!, values['1.attention']!);
    const gain = await graph.params.get('blk.1.ffn_norm.weight')!.read();
    const normed = (await calibration.activations(1, 'ffnInput'))!;
    near(
      normed.map((x, i) => x * gain[i % 64]!),
      values['1.ffnNorm']!,
    );
    const hidden = (await calibration.residualRms(1, 'ffnInput'))!;
    for (const row of rows) {
      const x = values['1.middle']!.subarray(row * 64, (row + 1) * 64);
      expect(hidden[row]).toBeCloseTo(Math.hypot(...x) / 8, 1);
    }
    // Every row of a norm without its gain has the mean square 1.
    const moments = await calibration.moments([0]);
    const trace = Array.from({ length: 64 }, (_, i) => moments[i * 65]!).reduce((sum, x) => sum + x, 0);
    expect(trace / 64).toBeCloseTo(1, 3);
    expect(await calibration.moments([0, 1])).not.toEqual(moments);
    await executable.dispose();
    await close();
  });

  it('opens what is there already, and gives the same again', async () => {
    const again = await calibrate(options());
    expect(again).toMatchObject({ path: artefact, cached: true });
    const anew = await calibrate(options({ out: path.join(folder, 'again.safetensors') }));
    expect(anew.cached).toBe(false);
    expect(anew.calibration.checksum).toBe(again.calibration.checksum);
    expect((await calibrate(options({ seed: 1 }))).path).not.toBe(artefact);
  });

  it('replaces a damaged file in the cache', async () => {
    const { path: file } = await calibrate(options({ seed: 2 }));
    await writeFile(file, (await readFile(file)).subarray(0, 5000));
    expect((await calibrate(options({ seed: 2 }))).cached).toBe(false);
    expect((await calibrate(options({ seed: 2 }))).cached).toBe(true);
  });

  it('takes text that the model writes itself, and a pipeline instead of a model', async () => {
    const own = await calibrate(options({ text: 'self', seed: 3 }));
    expect(own.calibration.settings.text).toBe('self');
    await using pipeline = await createPipeline({ model, cacheDir: false });
    const { model: _, ...rest } = options({ text: 'self', seed: 3, out: path.join(folder, 'own.safetensors') });
    expect((await calibrate({ ...rest, pipeline })).calibration.checksum).toBe(own.calibration.checksum);
  });

  it('leaves nothing behind when it is aborted', async () => {
    const cacheDir = path.join(folder, 'aborted');
    const abort = new AbortController();
    const running = calibrate(
      options({ cacheDir, signal: abort.signal, onProgress: ({ stage }) => stage === 'activations' && abort.abort() }),
    );
    await expect(running).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await readdir(path.join(cacheDir, 'larosa')).catch(() => [])).toEqual([]);
  });

  it.each<[name: string, more: CalibrateOptions, code: ErrorCode]>([
    ['a text with too few tokens', { text: 'hello world' }, 'LLMOPT_CALIBRATION_TOO_SHORT'],
    ['too few tokens for the width', { tokens: 255 }, 'LLMOPT_CALIBRATION_TOO_SHORT'],
    ['a part of a token', { tokens: 300.5 }, 'LLMOPT_OPTION_INVALID'],
    ['a window beyond the context', { window: 257 }, 'LLMOPT_OPTION_INVALID'],
    ['more samples than tokens', { samples: 321 }, 'LLMOPT_OPTION_INVALID'],
  ])('refuses %s', async (_, more, code) => {
    await expect(calibrate(options(more))).rejects.toMatchObject({ code });
  });

  it('refuses a pipeline that is sparse already', async () => {
    await using pipeline = await createPipeline({ model, cacheDir: false, plugins: [larosa({ sparsity: 0.4 })] });
    await expect(calibrate({ pipeline, text, tokens: 320 })).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
  });
});

describe('openCalibration', () => {
  it('refuses an artefact of another model', async () => {
    const other = await writeTinyModel(path.join(folder, 'other.gguf'), { seed: 2 });
    expect((await refusal(artefact, other)).code).toBe('LLMOPT_CALIBRATION_MODEL');
  });

  /** The artefact again, with other words in its header. */
  async function withHeader(words: Record<string, string>): Promise<string> {
    const file = await openSafetensors(artefact, { cacheDir: false });
    const tensors = new Map<string, { shape: readonly number[]; type: 'F32' | 'BF16'; data: Float32Array }>();
    for (const [name, { shape, type }] of file.tensors) {
      tensors.set(name, { shape, type: type as 'F32' | 'BF16', data: await file.read(name) });
    }
    const copy = path.join(folder, 'header.safetensors');
    await writeSafetensors(copy, tensors, { ...Object.fromEntries(file.metadata), ...words });
    await file.close();
    return copy;
  }

  it('refuses another version, another format, and words that were changed', async () => {
    expect((await refusal(await withHeader({ version: '2' }))).code).toBe('LLMOPT_CALIBRATION_VERSION');
    expect((await refusal(await withHeader({ format: 'pt' }))).code).toBe('LLMOPT_CALIBRATION_INVALID');
    expect((await refusal(await withHeader({ settings: '{}' }))).code).toBe('LLMOPT_CALIBRATION_INVALID');
    const settings = JSON.stringify({ tokens: 999_999, window: 64, samples: 40, seed: 0, text: 'self' });
    expect((await refusal(await withHeader({ settings }))).code).toBe('LLMOPT_CALIBRATION_INVALID');
  });

  it('refuses what was made of too little text', async () => {
    const short = path.join(folder, 'short.safetensors');
    const settings = { tokens: 100, window: 64, samples: 40, seed: 0, text: 'self' };
    const { graph, close } = await graphOf(model);
    const { model: checksum } = await openCalibration(artefact, graph);
    await close();
    await writeArtefact(short, { settings, model: checksum }, new Map());
    expect((await refusal(short)).code).toBe('LLMOPT_CALIBRATION_TOO_SHORT');
  });

  it('refuses a missing file by its name', async () => {
    expect(await refusal(path.join(folder, 'none'))).toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
  });

  it('never takes a cut or changed file for a sound one', async () => {
    const bytes = await readFile(artefact);
    const { graph, close } = await graphOf(model);
    const sound = await openCalibration(artefact, graph);
    const broken = path.join(folder, 'broken.safetensors');
    const headerBytes = Number(bytes.readBigUInt64LE()) + 8;
    const place = fc.oneof(fc.nat(headerBytes), fc.nat(bytes.length - 1));
    await fc.assert(
      fc.asyncProperty(place, fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, change, cut) => {
        const mutated = Buffer.from(cut ? bytes.subarray(0, at) : bytes);
        if (!cut) mutated[at]! ^= change;
        await writeFile(broken, mutated);
        try {
          const opened = await openCalibration(broken, graph);
          // Only space between the words of the header can differ.
          expect(cut).toBe(false);
          expect(opened.checksum).toBe(sound.checksum);
          expect(at).toBeLessThan(headerBytes);
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/^LLMOPT_CALIBRATION_(INVALID|VERSION|MODEL|TOO_SHORT)$/);
        }
      }),
      { numRuns: 120 },
    );
    await close();
  });
});

describe('larosa with a calibration', () => {
  it.each([
    { rotation: 'layer' as const },
    { rotation: 'shared' as const, values: true },
    { rotation: 1, values: true, compensation: true, prefill: 'sparse' as const },
  ])('changes nothing without sparsity: %o', async (more) => {
    const run = async (plugins: ReturnType<typeof larosa>[]) => {
      const backend = wasm({ threads: 2, precision: 'float32' });
      await using pipeline = await createPipeline({ model, plugins, backend, cacheDir: false });
      const tokens = pipeline.tokenizer.encode(text).slice(0, 24);
      const slot = pipeline.acquireSlot()!;
      const rows = tokens.map((_, i) => i);
      return (await pipeline.forward({ tokens, slots: rows.map(() => slot), positions: rows, logits: rows })).logits;
    };
    const [dense, rotated] = [await run([]), await run([larosa({ sparsity: 0, ...more, calibration: artefact })])];
    const largest = Math.max(...dense.map(Math.abs));
    expect(Math.max(...dense.map((x, i) => Math.abs(x - rotated[i]!))) / largest).toBeLessThan(1e-4);
  });

  it.each([
    { rotation: 'layer' as const },
    { values: true },
    { selection: 'threshold' as const },
    { compensation: true, prefill: 'sparse' as const },
  ])('needs it: %o', (more) => {
    expect(() => larosa({ sparsity: 0.4, ...more })).toThrow(/needs a calibration/);
  });

  it('refuses another rotation than there is', () => {
    expect(() => larosa({ sparsity: 0.4, rotation: 0, calibration: artefact })).toThrow(/rotation is 0/);
    expect(() => larosa({ sparsity: 0.4, rotation: 'all' as 'layer', calibration: artefact })).toThrow(/rotation is/);
  });

  it('claims the basis of the residual stream where it turns it', () => {
    expect(larosa({ sparsity: 0.4, rotation: 'shared', calibration: artefact }).claims).toEqual(['residualBasis']);
    expect(larosa({ sparsity: 0.4, values: true, calibration: artefact }).claims).toBeUndefined();
  });

  it('says in the plan why Phi cannot be rotated, and rotates its values', async () => {
    const phi = fixturePath('phi', 'model.gguf');
    const { graph, close } = await graphOf(phi);
    const { path: calibration } = await calibrate(
      options({ model: phi, text: 'self', tokens: 4 * graph.config.width, window: 32 }),
    );
    await expect(larosa({ sparsity: 0.4, rotation: 'layer', calibration }).graph!(graph)).rejects.toMatchObject({
      code: 'LLMOPT_PLAN',
      message: expect.stringMatching(/layerNorm of layer 0 .*takes the mean off/),
    });
    const rewritten = await larosa({ sparsity: 0.4, values: true, compensation: true, prefill: 'sparse', calibration })
      .graph!(graph);
    expect(checkGraph(rewritten).size).toBeGreaterThan(checkGraph(graph).size);
    await close();
  });

  it('refuses a calibration of another model when the pipeline is made', async () => {
    const graph = randomGraph();
    const plugin = larosa({ sparsity: 0.4, values: true, calibration: artefact });
    await expect(plugin.graph!(graph)).rejects.toMatchObject({ code: 'LLMOPT_CALIBRATION_MODEL' });
  });
});
