import { LlmoptError } from '../errors.ts';
import type { TensorInfo } from './checkpoint.ts';
import { type TensorType, tensorFormats } from './dequantize/formats.ts';
import type { FileSource } from './fileSource.ts';

/** A tensor of a known place in a file. */
export interface StoredTensor extends TensorInfo {
  readonly type: TensorType;
  /** Elements in all. */
  readonly elements: number;
  /** Where the tensor starts in the file, in bytes. */
  readonly position: number;
}

// A tensor is read and decoded in parts of about this size, so that little more than its result is in memory.
const partBytes = 4 * 1024 * 1024;

/**
 * Rows `[from, to)` of the slowest dimension as float32, row-major; without a range all of them. A scalar is one row.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_CHANGED, LLMOPT_DISPOSED
 */
export async function readTensor(
  file: FileSource,
  tensor: StoredTensor,
  rows?: readonly [from: number, to: number],
): Promise<Float32Array> {
  const count = tensor.shape[0] ?? 1;
  const [from, to] = rows ?? [0, count];
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
  const rowElements = count === 0 ? 0 : tensor.elements / count;
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
  await file.checkUnchanged();
  const skipped = from * rowElements - firstBlock * blockElements;
  const length = (to - from) * rowElements;
  return length === values.length ? values : values.slice(skipped, skipped + length);
}
