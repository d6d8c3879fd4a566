import { LlmoptError } from '../../errors.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { fileChecksum } from '../checksum.ts';
import { tensorFormats } from '../dequantize/formats.ts';
import { type FileSource, openFile } from '../fileSource.ts';
import { type GgufHeader, type GgufTensor, readHeader } from './header.ts';
import { createPieceReader } from './pieceReader.ts';
import type { MetadataType } from './types.ts';

/** An open GGUF file: a checkpoint that also knows how its metadata are typed, so that they can be copied. */
export interface GgufCheckpoint extends Checkpoint {
  /** 2 or 3. */
  readonly version: number;
  readonly metadataTypes: ReadonlyMap<string, MetadataType>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

export interface OpenGgufOptions {
  /** Where the checksum of the file is remembered. Default: the user's cache folder; `false` remembers nothing. */
  cacheDir?: string | false;
}

// A tensor is read and decoded in parts of about this size, so that little more than its result is in memory.
const partBytes = 4 * 1024 * 1024;

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
      const values = await readTensor(file, tensor, rows ?? [0, tensor.shape[0]!]);
      await file.checkUnchanged();
      return values;
    },
    async checksum() {
      await file.checkUnchanged();
      return fileChecksum(path, { cacheDir: options.cacheDir });
    },
    close: () => file.close(),
  };
}

async function readTensor(
  file: FileSource,
  tensor: GgufTensor,
  [from, to]: readonly [from: number, to: number],
): Promise<Float32Array> {
  const count = tensor.shape[0]!;
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > count) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `Rows ${from} to ${to} of tensor "${tensor.name}" were asked for; it has ${count}.`,
      {
        where: { file: file.path, tensor: tensor.name },
      },
    );
  }
  const { blockElements, blockBytes, decode } = tensorFormats[tensor.type];
  const rowElements = tensor.elements / count;
  // Rows of a vector are single elements, which may begin in the middle of a block.
  const firstBlock = Math.floor((from * rowElements) / blockElements);
  const lastBlock = Math.ceil((to * rowElements) / blockElements);
  const values = new Float32Array((lastBlock - firstBlock) * blockElements);
  const partBlocks = Math.floor(partBytes / blockBytes);
  const part = new Uint8Array(Math.min(partBlocks, lastBlock - firstBlock) * blockBytes);
  for (let block = firstBlock; block < lastBlock; block += partBlocks) {
    const blocks = Math.min(partBlocks, lastBlock - block);
    await file.read(part.subarray(0, blocks * blockBytes), tensor.position + block * blockBytes);
    decode(part, blocks, values, (block - firstBlock) * blockElements);
  }
  const skipped = from * rowElements - firstBlock * blockElements;
  const length = (to - from) * rowElements;
  return length === values.length ? values : values.slice(skipped, skipped + length);
}
