import type { FileHandle } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';
import { writeAtomically } from '../atomicFile.ts';
import { tensorFormats } from '../dequantize/formats.ts';
import type { WritableType } from '../quantize/encode.ts';
import { integerBytes, metadataBytes, stringBytes, type TypedMetadata } from './metadataBytes.ts';
import { tensorTypeIds } from './types.ts';

/** A tensor to be written. */
export interface TensorToWrite {
  readonly name: string;
  /** Slowest dimension first, one to four dimensions. For Q8_0 the last is a multiple of 32. */
  readonly shape: readonly number[];
  readonly type: WritableType;
  /** Called once, when its turn has come; row-major. */
  read(): Promise<Float32Array>;
}

export interface ModelToWrite {
  /** In the order they are written. `general.alignment` is obeyed; its default is 32. */
  readonly metadata: ReadonlyMap<string, TypedMetadata>;
  readonly tensors: readonly TensorToWrite[];
}

export interface WriteOptions {
  signal?: AbortSignal | undefined;
  /** Called after each tensor with the share of bytes that is written, from 0 to 1. */
  onProgress?: ((fraction: number, tensor: string) => void) | undefined;
}

interface Placed {
  tensor: TensorToWrite;
  elements: number;
  byteLength: number;
  /** From the start of the data, in bytes. */
  offset: number;
}

/**
 * Writes a GGUF file of version 3, one tensor in memory at a time. The file appears under its name when it is
 * complete; after an error or an abort nothing is left behind.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED, and what `read` throws
 */
export async function writeGguf(path: string, model: ModelToWrite, options: WriteOptions = {}): Promise<void> {
  const alignment = alignmentOf(model);
  const placed = place(model.tensors, alignment);
  const header = headerBytes(model, placed);
  const total = placed.reduce((sum, { byteLength }) => sum + byteLength, 0);
  await writeAtomically(path, async (file) => {
    let done = 0;
    await writeFully(file, padded(header, alignment));
    for (const { tensor, elements, byteLength } of placed) {
      checkAborted(options.signal, path);
      await writeFully(file, padded(await tensorBytes(tensor, elements), alignment));
      done += byteLength;
      options.onProgress?.(done / total, tensor.name);
    }
    checkAborted(options.signal, path);
    await file.sync();
  });
}

function checkAborted(signal: AbortSignal | undefined, path: string): void {
  if (signal?.aborted)
    throw new LlmoptError('LLMOPT_ABORTED', `Writing ${path} was aborted.`, {
      where: { file: path },
      cause: signal.reason,
    });
}

function invalid(problem: string): LlmoptError {
  return new LlmoptError('LLMOPT_OPTION_INVALID', problem);
}

function alignmentOf({ metadata }: ModelToWrite): number {
  const value = metadata.get('general.alignment')?.value ?? 32;
  if (typeof value === 'number' && value >= 1 && Number.isInteger(Math.log2(value))) return value;
  throw invalid(`general.alignment is ${JSON.stringify(value)}, not a power of two.`);
}

const align = (bytes: number, alignment: number) => Math.ceil(bytes / alignment) * alignment;

function place(tensors: readonly TensorToWrite[], alignment: number): Placed[] {
  const names = new Set<string>();
  let offset = 0;
  return tensors.map((tensor) => {
    const { name, shape, type } = tensor;
    const format = tensorFormats[type];
    const elements = shape.reduce((product, size) => product * size, 1);
    if (names.has(name)) throw invalid(`There are two tensors of the name "${name}".`);
    if (
      shape.length < 1 ||
      shape.length > 4 ||
      !shape.every((size) => Number.isInteger(size) && size > 0) ||
      !Number.isSafeInteger(elements)
    ) {
      throw invalid(`Tensor "${name}" has the impossible shape [${shape}].`);
    }
    if (shape.at(-1)! % format.blockElements !== 0) {
      throw invalid(
        `Tensor "${name}" has rows of ${shape.at(-1)} values, but ${type} comes in blocks of ${format.blockElements}.`,
      );
    }
    names.add(name);
    const byteLength = (elements / format.blockElements) * format.blockBytes;
    const placed = { tensor, elements, byteLength, offset };
    offset += align(byteLength, alignment);
    return placed;
  });
}

function headerBytes({ metadata }: ModelToWrite, placed: readonly Placed[]): Buffer {
  return Buffer.concat([
    Buffer.from('GGUF'),
    integerBytes(3, 4),
    integerBytes(placed.length, 8),
    integerBytes(metadata.size, 8),
    ...[...metadata].flatMap(([key, entry]) => [stringBytes(key), metadataBytes(key, entry)]),
    ...placed.flatMap(({ tensor: { name, shape, type }, offset }) => [
      stringBytes(name),
      integerBytes(shape.length, 4),
      ...shape.toReversed().map((size) => integerBytes(size, 8)),
      integerBytes(tensorTypeIds[type], 4),
      integerBytes(offset, 8),
    ]),
  ]);
}

async function tensorBytes(tensor: TensorToWrite, elements: number): Promise<Uint8Array> {
  const { encoders } = await import('../quantize/encode.ts');
  const values = await tensor.read();
  if (values.length !== elements) {
    throw invalid(
      `Tensor "${tensor.name}" delivered ${values.length} values; its shape [${tensor.shape}] asks for ${elements}.`,
    );
  }
  try {
    return encoders[tensor.type](values);
  } catch (cause) {
    if (!LlmoptError.isInstance(cause)) throw cause;
    throw new LlmoptError(cause.code, `Tensor "${tensor.name}" cannot be written: ${cause.message}`, {
      where: { tensor: tensor.name },
      cause,
    });
  }
}

/** The bytes, and zeros up to the alignment. */
function padded(bytes: Uint8Array, alignment: number): Uint8Array[] {
  const rest = align(bytes.length, alignment) - bytes.length;
  return rest === 0 ? [bytes] : [bytes, new Uint8Array(rest)];
}

async function writeFully(file: FileHandle, parts: readonly Uint8Array[]): Promise<void> {
  for (const part of parts) {
    for (let done = 0; done < part.length; ) done += (await file.write(part, done)).bytesWritten;
  }
}
