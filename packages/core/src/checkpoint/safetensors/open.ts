import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import type { TensorInfo } from '../checkpoint.ts';
import { fileChecksum } from '../checksum.ts';
import { type FileSource, openFile } from '../fileSource.ts';
import { readTensor } from '../readTensor.ts';
import { readSafetensorsHeader, type SafetensorsHeader, type SafetensorsTensor } from './header.ts';
import { findShards, type Shards } from './shards.ts';
import { type FloatType, floatTypes } from './types.ts';

/** Open safetensors: one file, or all files of an index. Only the headers are in memory. */
export interface Safetensors {
  readonly path: string;
  /** Paths of the files. */
  readonly files: readonly string[];
  /** What the files say of themselves (`__metadata__`); of two that say different things the later one counts. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * The tensor as float32, row-major; `rows` picks a range `[from, to)` of the slowest dimension.
   * @throws LLMOPT_TENSOR_MISSING, LLMOPT_SAFETENSORS_UNSUPPORTED when it is not F32, F16 or BF16, LLMOPT_OPTION_INVALID,
   * LLMOPT_FILE_CHANGED, LLMOPT_DISPOSED
   */
  read(name: string, rows?: readonly [from: number, to: number]): Promise<Float32Array>;
  /** SHA-256 in hex: that of the one file, or one over the names and sums of all. Remembered per file. */
  checksum(): Promise<string>;
  close(): Promise<void>;
}

export interface OpenSafetensorsOptions {
  /** Where the checksums of the files are remembered. Default: the user's cache folder; `false` remembers nothing. */
  cacheDir?: string | false;
}

/**
 * Opens a safetensors file, an index (`*.safetensors.index.json`) with its shards beside it, or a folder that holds
 * `model.safetensors` or such an index. Only headers are read; the files stay open until `close`.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_JSON_INVALID, LLMOPT_SAFETENSORS_INVALID, LLMOPT_SAFETENSORS_UNSUPPORTED
 */
export async function openSafetensors(path: string, options: OpenSafetensorsOptions = {}): Promise<Safetensors> {
  const shards = await findShards(path);
  const files: FileSource[] = [];
  const close = async () => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    const open: OpenShard[] = [];
    for (const shard of shards.files) {
      const file = await openFile(shard);
      files.push(file);
      open.push({ file, header: await readSafetensorsHeader(file) });
    }
    return createSafetensors(path, open, placeTensors(shards, open), close, options);
  } catch (error) {
    await close();
    throw error;
  }
}

interface OpenShard {
  file: FileSource;
  header: SafetensorsHeader;
}

interface Placed {
  file: FileSource;
  tensor: SafetensorsTensor;
}

/** Every tensor with its file; an index must tell the truth. */
function placeTensors({ fileOf, index }: Shards, open: readonly OpenShard[]): Map<string, Placed> {
  if (!fileOf) {
    return new Map(
      open.flatMap(({ file, header }) =>
        [...header.tensors].map(([name, tensor]) => [name, { file, tensor }] as const),
      ),
    );
  }
  const byPath = new Map(open.map((shard) => [shard.file.path, shard]));
  return new Map(
    [...fileOf].map(([name, path]) => {
      const { file, header } = byPath.get(path)!;
      const tensor = header.tensors.get(name);
      if (tensor) return [name, { file, tensor }] as const;
      throw new LlmoptError(
        'LLMOPT_SAFETENSORS_INVALID',
        `${index} says that tensor ${JSON.stringify(name)} is in ${basename(path)}, which does not have it.`,
        { where: { file: index!, tensor: name }, hint: 'The files do not belong together; download them again.' },
      );
    }),
  );
}

const isFloatType = (type: string): type is FloatType => (floatTypes as readonly string[]).includes(type);

function createSafetensors(
  path: string,
  open: readonly OpenShard[],
  placed: ReadonlyMap<string, Placed>,
  close: () => Promise<void>,
  options: OpenSafetensorsOptions,
): Safetensors {
  return {
    path,
    files: open.map(({ file }) => file.path),
    metadata: new Map(open.flatMap(({ header }) => [...header.metadata])),
    tensors: new Map([...placed].map(([name, { tensor }]) => [name, tensor])),
    async read(name, rows) {
      const place = placed.get(name);
      if (!place) {
        throw new LlmoptError('LLMOPT_TENSOR_MISSING', `${path} has no tensor "${name}".`, {
          where: { file: path, tensor: name },
          hint: 'The model is incomplete or made for another architecture.',
        });
      }
      const { file, tensor } = place;
      const { type } = tensor;
      if (isFloatType(type)) return readTensor(file, { ...tensor, type }, rows);
      throw new LlmoptError(
        'LLMOPT_SAFETENSORS_UNSUPPORTED',
        `Tensor "${name}" of ${file.path} is of the type ${type}, which cannot be read.`,
        { where: { file: file.path, tensor: name }, hint: `Types that can be read: ${floatTypes.join(', ')}.` },
      );
    },
    async checksum() {
      const sums: [string, string][] = [];
      for (const { file } of open) {
        await file.checkUnchanged();
        sums.push([basename(file.path), await fileChecksum(file.path, { cacheDir: options.cacheDir })]);
      }
      if (sums.length === 1) return sums[0]![1];
      return createHash('sha256').update(JSON.stringify(sums)).digest('hex');
    },
    close,
  };
}
