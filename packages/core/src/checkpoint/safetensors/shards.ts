import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import { isJsonObject, readJsonObject } from '../json.ts';

export const singleName = 'model.safetensors';
export const indexName = 'model.safetensors.index.json';

/** Where the tensors of a model are. */
export interface Shards {
  /** Paths, each once. */
  readonly files: readonly string[];
  /** File of each tensor; undefined when there is one file, which speaks for itself. */
  readonly fileOf: ReadonlyMap<string, string> | undefined;
  /** Path of the index, if there is one. */
  readonly index: string | undefined;
}

/**
 * Finds the files of a model: `path` is a file, an index, or a folder with `model.safetensors` or, without that,
 * `model.safetensors.index.json`.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_JSON_INVALID, LLMOPT_SAFETENSORS_INVALID
 */
export async function findShards(path: string): Promise<Shards> {
  if (path.endsWith('.index.json')) return readIndex(path);
  const stats = await stat(path).catch(() => undefined);
  if (!stats?.isDirectory()) return { files: [path], fileOf: undefined, index: undefined };
  for (const name of [singleName, indexName]) {
    if (await exists(join(path, name))) return findShards(join(path, name));
  }
  throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} has neither ${singleName} nor ${indexName}.`, {
    where: { file: path },
    hint: 'Name a folder that holds a model in safetensors.',
  });
}

const exists = (path: string) =>
  stat(path).then(
    (stats) => stats.isFile(),
    () => false,
  );

/** Which file each tensor is in. The files lie beside the index: a name that leads elsewhere is refused. */
async function readIndex(index: string): Promise<Shards> {
  const { value } = await readJsonObject(index);
  const invalid = (problem: string) =>
    new LlmoptError('LLMOPT_SAFETENSORS_INVALID', `${index} is not a sound index: ${problem}.`, {
      where: { file: index },
      hint: 'The file is truncated or corrupted; download or convert it again.',
    });
  const { weight_map: map } = value;
  if (!isJsonObject(map)) throw invalid('it has no weight_map');
  const folder = dirname(index);
  const fileOf = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (!isShardName(file)) {
      throw invalid(`tensor ${JSON.stringify(tensor)} is said to be in ${JSON.stringify(file)}, no file beside it`);
    }
    fileOf.set(tensor, join(folder, file));
  }
  if (fileOf.size === 0) throw invalid('its weight_map is empty');
  return { files: [...new Set(fileOf.values())].sort(), fileOf, index };
}

/** A plain name of a safetensors file: nothing that leads out of the folder. */
export const isShardName = (name: unknown): name is string =>
  typeof name === 'string' && /^[^/\\:\0]+\.safetensors$/.test(name) && basename(name) === name;
