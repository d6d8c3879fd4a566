import type { FileHandle } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';
import { writeAtomically } from '../atomicFile.ts';
import { encodeBF16, encoders } from '../quantize/encode.ts';
import { elementBits, type FloatType, floatTypes } from './types.ts';

/** A tensor to be written to safetensors. */
export interface SafetensorsTensorToWrite {
  /** Slowest dimension first; no dimension at all is a scalar. */
  readonly shape: readonly number[];
  readonly type: FloatType;
  /** The values, row-major: all of them, or a function that delivers them in parts of any size when their turn has come. */
  readonly data: Float32Array | (() => AsyncIterable<Float32Array> | Iterable<Float32Array>);
}

interface Placed extends SafetensorsTensorToWrite {
  name: string;
  elements: number;
  begin: number;
  end: number;
}

// Values are encoded in parts of at most this many, so that little more than what `data` delivers is in memory.
const partElements = 1024 * 1024;

const encode: Readonly<Record<FloatType, (values: Float32Array) => Uint8Array>> = {
  F32: encoders.F32,
  F16: encoders.F16,
  BF16: encodeBF16,
};

/**
 * Writes a safetensors file, one part of one tensor in memory at a time. Tensors of wider types come first, so that every
 * tensor is aligned; else they keep their order. The file appears under its name when it is complete; after an error nothing
 * is left behind.
 *
 * @param metadata texts for `__metadata__`. Default `{ format: 'pt' }`, which transformers asks for.
 * @throws LLMOPT_OPTION_INVALID (a shape, a type, a number of values, a value that the type cannot hold), LLMOPT_WRITE_FAILED
 * (its `cause` is what the disk or `data` threw)
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, SafetensorsTensorToWrite>> | ReadonlyMap<string, SafetensorsTensorToWrite>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const placed = place(tensors instanceof Map ? [...tensors] : Object.entries(tensors));
  const header = headerBytes(placed, metadata);
  await writeAtomically(path, async (file) => {
    await writeFully(file, header);
    for (const tensor of placed) await writeTensor(file, tensor);
    await file.sync();
  });
}

const invalid = (problem: string) => new LlmoptError('LLMOPT_OPTION_INVALID', problem);

function place(tensors: readonly (readonly [string, SafetensorsTensorToWrite])[]): Placed[] {
  let at = 0;
  return tensors
    .map(([name, { shape, type, data }]) => {
      if (!(floatTypes as readonly string[]).includes(type)) {
        throw invalid(`Tensor "${name}" cannot be written as ${type}; types are ${floatTypes.join(', ')}.`);
      }
      if (name === '__metadata__') throw invalid('No tensor can have the name "__metadata__".');
      const elements = shape.reduce((product, size) => product * size, 1);
      if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Number.isSafeInteger(elements * 4)) {
        throw invalid(`Tensor "${name}" has the impossible shape [${shape}].`);
      }
      return { name, shape, type, data, elements };
    })
    .sort((a, b) => elementBits[b.type]! - elementBits[a.type]!)
    .map((tensor) => {
      const begin = at;
      at += (tensor.elements * elementBits[tensor.type]!) / 8;
      return { ...tensor, begin, end: at };
    });
}

function headerBytes(placed: readonly Placed[], metadata: Readonly<Record<string, string>>): Buffer {
  if (Object.values(metadata).some((value) => typeof value !== 'string'))
    throw invalid('The metadata hold more than texts.');
  const entries = placed.map(({ name, shape, type, begin, end }): [string, unknown] => [
    name,
    { dtype: type, shape, data_offsets: [begin, end] },
  ]);
  const text = Buffer.from(JSON.stringify(Object.fromEntries([['__metadata__', metadata], ...entries])));
  // Spaces up to a multiple of 8, so that the tensors are aligned.
  const length = Math.ceil(text.length / 8) * 8;
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  text.copy(header, 8);
  return header;
}

async function writeTensor(file: FileHandle, { name, shape, type, data, elements }: Placed): Promise<void> {
  let done = 0;
  for await (const part of typeof data === 'function' ? data() : [data]) {
    done += part.length;
    if (done > elements) break;
    for (let at = 0; at < part.length; at += partElements) {
      await writeFully(file, encodePart(name, type, part.subarray(at, at + partElements)));
    }
  }
  if (done !== elements) {
    const count = done > elements ? 'more values' : `${done} values`;
    throw invalid(`Tensor "${name}" delivered ${count}; its shape [${shape}] asks for ${elements}.`);
  }
}

function encodePart(name: string, type: FloatType, values: Float32Array): Uint8Array {
  try {
    return encode[type](values);
  } catch (cause) {
    if (!LlmoptError.isInstance(cause)) throw cause;
    throw new LlmoptError(cause.code, `Tensor "${name}" cannot be written: ${cause.message}`, {
      where: { tensor: name },
      cause,
    });
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) done += (await file.write(bytes, done)).bytesWritten;
}
