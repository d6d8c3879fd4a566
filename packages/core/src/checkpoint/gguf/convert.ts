import { LlmoptError } from '../../errors.ts';
import type { WritableType } from '../quantize/encode.ts';
import type { TypedMetadata } from './metadataBytes.ts';
import type { GgufCheckpoint } from './open.ts';
import { type TensorToWrite, type WriteOptions, writeGguf } from './write.ts';

// What `general.file_type` calls a file whose matrices are mostly of this type.
const fileTypes: Readonly<Record<WritableType, number>> = { F32: 0, F16: 1, Q8_0: 7 };

/** The metadata of an open file with their types, ready to be written again. */
export function typedMetadata(checkpoint: GgufCheckpoint): Map<string, TypedMetadata> {
  return new Map(
    [...checkpoint.metadata].map(([key, value]) => [key, { type: checkpoint.metadataTypes.get(key)!, value }]),
  );
}

/**
 * Copies a model with its matrices as `type`, so that other runtimes of GGUF load it. Vectors stay F32; matrices
 * whose rows are no multiple of 32 become F16 when Q8_0 was asked for. All metadata are kept but `general.file_type`.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_WRITE_FAILED, LLMOPT_FILE_CHANGED, LLMOPT_ABORTED
 */
export async function convertGguf(
  checkpoint: GgufCheckpoint,
  path: string,
  type: WritableType,
  options: WriteOptions = {},
): Promise<void> {
  if (!Object.hasOwn(fileTypes, type)) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `A GGUF file cannot be written as ${type}.`, {
      hint: `Types: ${Object.keys(fileTypes).join(', ')}.`,
    });
  }
  const metadata = typedMetadata(checkpoint);
  metadata.set('general.file_type', { type: 'uint32', value: fileTypes[type] });
  const tensors = [...checkpoint.tensors.values()].map(
    ({ name, shape }): TensorToWrite => ({
      name,
      shape,
      type: typeFor(shape, type),
      read: () => checkpoint.read(name),
    }),
  );
  await writeGguf(path, { metadata, tensors }, options);
}

function typeFor(shape: readonly number[], type: WritableType): WritableType {
  if (shape.length === 1) return 'F32';
  return type === 'Q8_0' && shape.at(-1)! % 32 !== 0 ? 'F16' : type;
}
