import { LlmoptError } from '../../errors.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { fileChecksum } from '../checksum.ts';
import { type FileSource, openFile } from '../fileSource.ts';
import { readTensor, type StoredTensor } from '../readTensor.ts';
import { type GgufHeader, readHeader } from './header.ts';
import { createPieceReader } from './pieceReader.ts';
import type { MetadataType } from './types.ts';

/** An open GGUF file: a checkpoint that also knows how its metadata are typed, so that they can be copied. */
export interface GgufCheckpoint extends Checkpoint {
  /** 2 or 3. */
  readonly version: number;
  readonly metadataTypes: ReadonlyMap<string, MetadataType>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

export interface OpenGgufOptions {
  /** Where the checksum of the file is remembered. Default: the user's cache folder; `false` remembers nothing. */
  cacheDir?: string | false;
}

/**
 * Opens a GGUF file (version 2 or 3, little endian). Only the header is read; the file stays open until `close`.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_GGUF_INVALID, LLMOPT_GGUF_UNSUPPORTED, LLMOPT_METADATA_MISSING
 */
export async function openGguf(path: string, options: OpenGgufOptions = {}): Promise<GgufCheckpoint> {
  const file = await openFile(path);
  try {
    const header = await readHeader(createPieceReader(file), path, file.size);
    return createCheckpoint(file, header, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

function createCheckpoint(file: FileSource, header: GgufHeader, options: OpenGgufOptions): GgufCheckpoint {
  const { path } = file;
  const { tensors, metadata } = header;
  const architecture = metadata.get('general.architecture');
  if (typeof architecture !== 'string' || architecture === '') {
    throw new LlmoptError(
      'LLMOPT_METADATA_MISSING',
      `${path} does not name its architecture in "general.architecture".`,
      {
        where: { file: path, field: 'general.architecture' },
        hint: 'The file is incomplete; convert it again.',
      },
    );
  }
  let parameters = 0;
  for (const tensor of tensors.values()) parameters += tensor.elements;

  return {
    ...header,
    format: 'gguf',
    path,
    architecture,
    parameters,
    async read(name, rows) {
      const tensor = tensors.get(name);
      if (!tensor) {
        throw new LlmoptError('LLMOPT_TENSOR_MISSING', `${path} has no tensor "${name}".`, {
          where: { file: path, tensor: name },
          hint: 'The file is incomplete or made for another architecture.',
        });
      }
      return readTensor(file, tensor, rows);
    },
    async checksum() {
      await file.checkUnchanged();
      return fileChecksum(path, { cacheDir: options.cacheDir });
    },
    close: () => file.close(),
  };
}
