import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import {
  buildGraph,
  type Checkpoint,
  createPipeline,
  defaultCacheFolder,
  type Graph,
  LlmoptError,
  openCheckpoint,
  type Pipeline,
  resolveModel,
} from '@llmopt/core';
import { allCosts, costShares } from '../budget/costs.ts';
import type { Found } from '../search/search.ts';
import { type SearchModel, searchCalibration } from '../search/searchCalibration.ts';
import { checkSearch, type SearchOptions } from '../search/settings.ts';
import { type ArtefactTensor, artefactVersion, leastTokens, openCalibration, writeArtefact } from './artefact.ts';
import { type Calibration, type CalibrationSettings, calibrationOver, tensorNames } from './calibration.ts';
import { collect } from './collect.ts';
import { modelChecksum } from './modelChecksum.ts';
import { calibrationTokens, textName } from './text.ts';

/** What a calibration is doing, and how far that is, from 0 to 1. */
export interface CalibrationProgress {
  stage: 'load' | 'text' | 'activations' | 'costs' | 'search' | 'write';
  fraction: number;
}

export interface CalibrateOptions {
  /** The model: as `createPipeline` takes it. Default `smollm2-135m`. */
  model?: string | Checkpoint;
  /** A pipeline that has the model open, instead of `model`. It must have no larosa plugin. */
  pipeline?: Pipeline;
  /** What the model reads: a text, or `'self'`: what it writes itself. Default `'self'`. */
  text?: string;
  /** Tokens of it. Default 16,384; at least four per dimension of the residual stream. */
  tokens?: number;
  /** Tokens per sequence. Default 512. */
  window?: number;
  /** Rows of activations to keep, for thresholds, compensation and budgets. Default 256. */
  samples?: number;
  /** Default 0. */
  seed?: number;
  /**
   * Look for the best budgets afterwards, on further tokens. It needs the model to open it once more for each, so that it is `false` for a
   * pipeline. Default otherwise: for five minutes.
   */
  search?: SearchOptions | false;
  /** The file to write. Default: one in `cacheDir`, named by all that its content depends on. */
  out?: string;
  /** Default: the user's cache folder. */
  cacheDir?: string;
  onProgress?: (progress: CalibrationProgress) => void;
  signal?: AbortSignal;
}

/** Where a calibration is, and what is in it. */
export interface CalibrateResult {
  path: string;
  calibration: Calibration;
  /** It was there already. */
  cached: boolean;
}

/**
 * Lets a model read text and keeps what its activations look like, in one file. What was calibrated before, with the same model, text and
 * settings, is only opened. Nothing is left behind when it fails or is aborted.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_CALIBRATION_TOO_SHORT, LLMOPT_ABORTED, LLMOPT_WRITE_FAILED, and what opening the model throws
 */
export async function calibrate(options: CalibrateOptions = {}): Promise<CalibrateResult> {
  const { text = 'self', signal, onProgress } = options;
  const settings = checkSettings(options, text);
  const report = (stage: CalibrationProgress['stage']) => (fraction: number) => onProgress?.({ stage, fraction });
  report('load')(0);
  const model = await openModel(options);
  try {
    const { graph } = model;
    checkTokens(settings, graph);
    const checksum = await modelChecksum(graph);
    const file = path.resolve(options.out ?? cachePath(options.cacheDir, checksum, settings));
    const known = await openKnown(file, graph, settings);
    if (known) return { path: file, calibration: known, cached: true };
    const pipeline = await model.pipeline();
    report('load')(1);
    const more = settings.search?.tokens ?? 0;
    const wanted = { ...settings, tokens: settings.tokens + more };
    const tokens = await calibrationTokens(pipeline, text, wanted, { onProgress: report('text'), signal });
    const read = tokens.slice(0, settings.tokens);
    const tensors = new Map(await collect(pipeline, read, settings, { onProgress: report('activations'), signal }));
    tensors.set(tensorNames.costs, await costsOf(graph, tensors, { onProgress: report('costs'), signal }));
    const facts = { settings, model: checksum };
    if (settings.search) {
      const control = { onProgress: report('search'), signal };
      const calibration = calibrationOf(facts, graph, tensors);
      const searched = { ...model.search!, pipeline };
      const found = await searchCalibration(searched, calibration, tokens.slice(-more), settings.search, control);
      for (const [name, tensor] of searchTensors(found)) tensors.set(name, tensor);
    }
    signal?.throwIfAborted();
    report('write')(0);
    await writeArtefact(file, facts, tensors);
    const calibration = await openCalibration(file, graph);
    report('write')(1);
    return { path: file, calibration, cached: false };
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new LlmoptError('LLMOPT_ABORTED', 'The calibration was aborted.', { cause: error });
  } finally {
    await model.close();
  }
}

/** The graph of the model at once, a pipeline when it is needed. */
async function openModel({ model = 'smollm2-135m', pipeline, cacheDir, signal, window }: CalibrateOptions): Promise<{
  graph: Graph;
  pipeline(): Promise<Pipeline>;
  /** What a search opens it from. */
  search: Pick<SearchModel, 'checkpoint' | 'cacheDir'> | undefined;
  close(): Promise<void>;
}> {
  if (pipeline) {
    if (pipeline.plan.plugins.some(({ name }) => name === 'larosa')) {
      throw new LlmoptError('LLMOPT_OPTION_INVALID', 'The pipeline to calibrate has the plugin larosa.', {
        hint: 'Calibrate a pipeline without it.',
      });
    }
    return { graph: pipeline.graph, pipeline: async () => pipeline, search: undefined, close: async () => {} };
  }
  const own = typeof model === 'string';
  const cache = cacheDir === undefined ? {} : { cacheDir };
  // A pipeline closes its checkpoint; that of the caller stays open.
  const checkpoint = own
    ? await openCheckpoint(await resolveModel(model, { ...cache, signal }), cache)
    : { ...model, close: async () => {} };
  let made: Pipeline | undefined;
  return {
    graph: buildGraph(checkpoint),
    async pipeline() {
      const contextLength = Math.min(window ?? WINDOW, buildGraph(checkpoint).config.contextLength);
      made = await createPipeline({ model: checkpoint, ...cache, contextLength, ...(signal && { signal }) });
      return made;
    },
    search: { checkpoint, cacheDir: cacheDir ?? defaultCacheFolder() },
    async close() {
      await made?.dispose();
      await checkpoint.close();
    },
  };
}

const WINDOW = 512;

function checkSettings(options: CalibrateOptions, text: string): CalibrationSettings {
  const { tokens = 16_384, window = WINDOW, samples = 256, seed = 0 } = options;
  for (const [name, value, least, most] of [
    ['tokens', tokens, 1, 2 ** 24],
    ['window', window, 2, 2 ** 16],
    ['samples', samples, 1, Math.min(tokens, 2 ** 16)],
    ['seed', seed, 0, 2 ** 31],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      throw new LlmoptError(
        'LLMOPT_OPTION_INVALID',
        `calibrate: ${name} is ${value}; a whole number from ${least} to ${most} is allowed.`,
      );
    }
  }
  if (options.model !== undefined && options.pipeline !== undefined) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', 'calibrate: model and pipeline are both given.', {
      hint: 'Give one of the two.',
    });
  }
  if (options.pipeline !== undefined && options.search) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', 'calibrate: a search is asked for, but a pipeline is given.', {
      hint: 'Give the model instead of the pipeline: a search opens it once for each budget.',
    });
  }
  const search = options.search === false || options.pipeline ? undefined : checkSearch(options.search ?? {});
  return { ...{ tokens, window, samples, seed }, text: textName(text), ...(search && { search }) };
}

function checkTokens({ tokens, window }: CalibrationSettings, { config }: Graph): void {
  if (tokens < leastTokens(config.width)) {
    throw new LlmoptError(
      'LLMOPT_CALIBRATION_TOO_SHORT',
      `calibrate: ${tokens} tokens are too few for a model ${config.width} wide; it needs at least ${leastTokens(config.width)}.`,
    );
  }
  if (window > config.contextLength) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `calibrate: a window of ${window} tokens does not fit the model's context of ${config.contextLength}.`,
    );
  }
}

async function costsOf(
  graph: Graph,
  tensors: ReadonlyMap<string, ArtefactTensor>,
  control: { onProgress: (fraction: number) => void; signal: AbortSignal | undefined },
): Promise<ArtefactTensor> {
  const data = await allCosts(
    graph,
    ({ layer, site }) => tensors.get(tensorNames.activations(layer, site))!.data,
    (layer) =>
      (
        tensors.get(tensorNames.residualRms(layer, 'ffnInput')) ??
        tensors.get(tensorNames.residualRms(layer, 'attentionInput'))
      )?.data,
    control,
  );
  return { shape: [data.length / costShares.length, costShares.length], type: 'F32', data };
}

/** A calibration that is not in a file yet. */
function calibrationOf(
  { settings, model }: { settings: CalibrationSettings; model: string },
  { config }: Graph,
  tensors: ReadonlyMap<string, ArtefactTensor>,
): Calibration {
  const checksum = JSON.stringify([model, settings]);
  return calibrationOver({ settings, model, checksum, layers: config.layers }, config, {
    names: new Set(tensors.keys()),
    read: async (name) => tensors.get(name)!.data,
  });
}

function searchTensors(found: readonly Found[]): [name: string, ArtefactTensor][] {
  const tensor = (rows: readonly (readonly number[])[]): ArtefactTensor => ({
    shape: [rows.length, rows[0]!.length],
    type: 'F32',
    data: Float32Array.from(rows.flat()),
  });
  const divergences = found.map(({ fixedDivergence = Number.NaN, divergence = Number.NaN }) => [
    fixedDivergence,
    divergence,
  ]);
  return [
    [tensorNames.searched, tensor(found.map(({ kept }) => kept))],
    [tensorNames.divergences, tensor(divergences)],
  ];
}

function cachePath(cacheDir: string | undefined, model: string, settings: CalibrationSettings): string {
  const key = createHash('sha256')
    .update(JSON.stringify([artefactVersion, model, settings]))
    .digest('hex');
  return path.join(cacheDir ?? defaultCacheFolder(), 'larosa', `${key.slice(0, 40)}.safetensors`);
}

/** A sound artefact of these settings, if the file is one. */
async function openKnown(file: string, graph: Graph, settings: CalibrationSettings): Promise<Calibration | undefined> {
  if (!(await stat(file).catch(() => undefined))) return undefined;
  try {
    const calibration = await openCalibration(file, graph);
    return JSON.stringify(calibration.settings) === JSON.stringify(settings) ? calibration : undefined;
  } catch (error) {
    if (LlmoptError.isInstance(error) && error.code.startsWith('LLMOPT_CALIBRATION')) return undefined;
    throw error;
  }
}
