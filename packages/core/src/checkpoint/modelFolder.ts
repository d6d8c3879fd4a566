import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { LlmoptError } from '../errors.ts';
import type { Checkpoint, MetadataValue } from './checkpoint.ts';
import { isJsonObject, type JsonObject, readJsonObject } from './json.ts';
import { type OpenSafetensorsOptions, openSafetensors } from './safetensors/open.ts';

/**
 * Opens a model as transformers keeps it: a folder with `config.json` and safetensors. `path` is the folder, or the file
 * or index of safetensors in it.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_JSON_INVALID, LLMOPT_METADATA_MISSING, LLMOPT_SAFETENSORS_INVALID, LLMOPT_SAFETENSORS_UNSUPPORTED
 */
export async function openModelFolder(path: string, options: OpenSafetensorsOptions = {}): Promise<Checkpoint> {
  const folder = /\.(safetensors|json)$/.test(path) ? dirname(path) : path;
  const configPath = join(folder, 'config.json');
  const config = await readJsonObject(configPath);
  const architecture = config.value.model_type;
  if (typeof architecture !== 'string' || architecture === '') {
    throw new LlmoptError('LLMOPT_METADATA_MISSING', `${configPath} does not say its model_type.`, {
      where: { file: configPath, field: 'model_type' },
      hint: 'The file is incomplete; download or convert it again.',
    });
  }
  const weights = await openSafetensors(path, options);
  let parameters = 0;
  for (const { shape } of weights.tensors.values()) parameters += shape.reduce((product, size) => product * size, 1);
  return {
    format: 'safetensors',
    path: folder,
    architecture,
    parameters,
    metadata: new Map(flatten(config.value)),
    tensors: weights.tensors,
    read: weights.read,
    async checksum() {
      return createHash('sha256')
        .update(await weights.checksum())
        .update(config.bytes)
        .digest('hex');
    },
    close: weights.close,
  };
}

/** The fields of a configuration by name, those of objects within as `object.field`. Nulls and lists of mixed values are left out. */
function* flatten(object: JsonObject, prefix = ''): Generator<[string, MetadataValue]> {
  for (const [key, value] of Object.entries(object)) {
    if (isJsonObject(value)) yield* flatten(value, `${prefix}${key}.`);
    else if (isMetadataValue(value)) yield [prefix + key, value];
  }
}

const isScalar = (value: unknown) => ['number', 'boolean', 'string'].includes(typeof value);

function isMetadataValue(value: unknown): value is MetadataValue {
  if (!Array.isArray(value)) return isScalar(value);
  return value.every((item) => isScalar(item) && typeof item === typeof value[0]);
}
