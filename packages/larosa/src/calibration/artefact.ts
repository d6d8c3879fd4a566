import { createHash } from 'node:crypto';
import { type Graph, LlmoptError, openSafetensors, type Safetensors, writeSafetensors } from '@llmopt/core';
import { costShares } from '../budget/costs.ts';
import { isSearch } from '../search/settings.ts';
import { layerSites } from '../sites.ts';
import {
  type Calibration,
  type CalibrationSettings,
  type CalibrationSource,
  calibrationOver,
  tensorNames,
} from './calibration.ts';
import { modelChecksum } from './modelChecksum.ts';

const FORMAT = 'llmopt-larosa-calibration';

/** Raised whenever the tensors of an artefact change their meaning. */
export const artefactVersion = 1;

/** A tensor of an artefact; `BF16` rounds it. */
export interface ArtefactTensor {
  readonly shape: readonly number[];
  readonly type: 'F32' | 'BF16';
  readonly data: Float32Array;
}

/** Tokens that a calibration must have seen at least: four per dimension of the residual stream. */
export const leastTokens = (width: number) => 4 * width;

const byName = (names: Iterable<string>) => [...names].sort();

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** What is left of numbers in the type in which they are written. */
function rounded({ type, data }: ArtefactTensor): Float32Array {
  if (type === 'F32') return data;
  const out = Float32Array.from(data);
  const bits = new Uint32Array(out.buffer);
  // To the nearest of the upper 16 bits, of two equally near to the even one.
  for (let i = 0; i < bits.length; i++) bits[i] = (bits[i]! + 0x7fff + ((bits[i]! >>> 16) & 1)) & 0xffff0000;
  return out;
}

/**
 * Writes an artefact: one safetensors file, whose header names the format, its version, the model, the settings and a sum over all numbers.
 * It appears under its name when it is complete.
 * @throws LLMOPT_WRITE_FAILED
 */
export async function writeArtefact(
  path: string,
  facts: { settings: CalibrationSettings; model: string },
  tensors: ReadonlyMap<string, ArtefactTensor>,
): Promise<void> {
  const hash = startChecksum(JSON.stringify(facts.settings), facts.model);
  const ready = new Map(
    byName(tensors.keys()).map((name) => {
      const tensor = tensors.get(name)!;
      const data = rounded(tensor);
      hash.update(JSON.stringify([name, tensor.shape])).update(bytesOf(data));
      return [name, { ...tensor, data }];
    }),
  );
  await writeSafetensors(path, ready, {
    format: FORMAT,
    version: String(artefactVersion),
    model: facts.model,
    settings: JSON.stringify(facts.settings),
    checksum: hash.digest('hex'),
  });
}

/**
 * Opens an artefact that was made for this model. Its numbers are checked once, and read again when they are asked for.
 * @throws LLMOPT_FILE_NOT_FOUND; LLMOPT_CALIBRATION_INVALID, LLMOPT_CALIBRATION_VERSION, LLMOPT_CALIBRATION_MODEL,
 * LLMOPT_CALIBRATION_TOO_SHORT
 */
export async function openCalibration(path: string, graph: Graph): Promise<Calibration> {
  const file = await openFile(path);
  try {
    const { metadata } = file;
    if (metadata.get('format') !== FORMAT) throw invalid(path, 'it is something else');
    const version = metadata.get('version');
    if (version !== String(artefactVersion)) {
      throw new LlmoptError(
        'LLMOPT_CALIBRATION_VERSION',
        `${path} is a calibration of version ${version}; version ${artefactVersion} is read.`,
        { where: { file: path }, hint: 'Calibrate again with llmopt-larosa calibrate.' },
      );
    }
    const settings = readSettings(path, metadata.get('settings'));
    const { layers, width } = graph.config;
    const model = metadata.get('model');
    if (model !== (await modelChecksum(graph))) {
      throw new LlmoptError('LLMOPT_CALIBRATION_MODEL', `${path} was made for another model.`, {
        where: { file: path },
        hint: 'Calibrate this model with llmopt-larosa calibrate.',
      });
    }
    if (settings.tokens < leastTokens(width)) {
      throw new LlmoptError(
        'LLMOPT_CALIBRATION_TOO_SHORT',
        `${path} was made of ${settings.tokens} tokens; at least ${leastTokens(width)} are needed for a model ${width} wide.`,
        { where: { file: path }, hint: 'Calibrate on more text.' },
      );
    }
    const checksum = metadata.get('checksum');
    checkShapes(path, file, artefactShapes(graph, settings));
    if ((await checksumOf(path, file)) !== checksum) throw invalid(path, 'its numbers are not those of its checksum');
    return calibrationOver({ settings, model, checksum, layers }, graph.config, sourceOf(path, checksum, file));
  } finally {
    await file.close();
  }
}

async function openFile(path: string): Promise<Safetensors> {
  try {
    return await openSafetensors(path, { cacheDir: false });
  } catch (cause) {
    if (LlmoptError.isInstance(cause) && cause.code === 'LLMOPT_FILE_NOT_FOUND') throw cause;
    throw invalid(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

const startChecksum = (settings: string, model: string) =>
  createHash('sha256').update(JSON.stringify([FORMAT, artefactVersion, settings, model]));

async function checksumOf(path: string, file: Safetensors): Promise<string> {
  const hash = startChecksum(file.metadata.get('settings')!, file.metadata.get('model')!);
  for (const name of byName(file.tensors.keys())) {
    const data = await file.read(name).catch((cause) => {
      throw invalid(path, `tensor ${name} cannot be read`, cause);
    });
    hash.update(JSON.stringify([name, file.tensors.get(name)!.shape])).update(bytesOf(data));
  }
  return hash.digest('hex');
}

/** Reads from the file by its name, which must still be that of the same artefact. */
function sourceOf(path: string, checksum: string, { tensors }: Safetensors): CalibrationSource {
  return {
    names: new Set(tensors.keys()),
    async read(name) {
      const file = await openFile(path);
      try {
        if (file.metadata.get('checksum') !== checksum) throw invalid(path, 'it was replaced while it was in use');
        return await file.read(name);
      } finally {
        await file.close();
      }
    },
  };
}

/** The tensors of an artefact of this model, and their shapes. */
export function artefactShapes(
  graph: Graph,
  { samples, search }: Pick<CalibrationSettings, 'samples' | 'search'>,
): ReadonlyMap<string, readonly number[]> {
  const { width, kvHeads, headDim } = graph.config;
  const sites = layerSites(graph);
  const shapes = new Map<string, readonly number[]>([[tensorNames.costs, [sites.length, costShares.length]]]);
  if (search) {
    shapes.set(tensorNames.searched, [search.sparsities.length, sites.length]);
    shapes.set(tensorNames.divergences, [search.sparsities.length, 2]);
  }
  for (const { layer, site, norm, attention, width: inputs } of sites) {
    shapes.set(tensorNames.activations(layer, site), [samples, inputs]);
    if (norm) {
      shapes.set(tensorNames.moments(layer), [(width * (width + 1)) / 2]);
      shapes.set(tensorNames.residualRms(layer, site), [samples]);
    }
    if (attention) shapes.set(tensorNames.headMoments(layer), [kvHeads, headDim, headDim]);
  }
  return shapes;
}

function checkShapes(path: string, { tensors }: Safetensors, shapes: ReadonlyMap<string, readonly number[]>): void {
  if (tensors.size !== shapes.size) throw invalid(path, `it has ${tensors.size} tensors instead of ${shapes.size}`);
  for (const [name, shape] of shapes) {
    if (String(tensors.get(name)?.shape) !== String(shape)) throw invalid(path, `tensor ${name} is not [${shape}]`);
  }
}

function readSettings(path: string, text: string | undefined): CalibrationSettings {
  try {
    const settings = JSON.parse(text ?? '') as CalibrationSettings;
    const { tokens, window, samples, seed, text: name, search } = settings;
    const sound = [tokens, window, samples, seed].every(Number.isSafeInteger) && typeof name === 'string';
    if (sound && (search === undefined || isSearch(search))) return settings;
  } catch (cause) {
    throw invalid(path, 'its settings cannot be read', cause);
  }
  throw invalid(path, 'its settings are incomplete');
}

function invalid(path: string, problem: string, cause?: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_CALIBRATION_INVALID', `${path} is no sound calibration: ${problem}.`, {
    where: { file: path },
    hint: 'Calibrate again with llmopt-larosa calibrate.',
    cause,
  });
}
