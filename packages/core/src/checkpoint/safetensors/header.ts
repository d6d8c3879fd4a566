import { LlmoptError } from '../../errors.ts';
import type { TensorInfo } from '../checkpoint.ts';
import type { Source } from '../gguf/pieceReader.ts';
import { decodeUtf8, isJsonObject, type JsonObject, parseJson } from '../json.ts';
import { elementBits } from './types.ts';

/** A tensor as a header describes it; its type may be one that cannot be read. */
export interface SafetensorsTensor extends TensorInfo {
  readonly elements: number;
  /** Where the tensor starts in the file, in bytes. */
  readonly position: number;
}

export interface SafetensorsHeader {
  /** What the file says of itself. */
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of their places in the file. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;
const lengthBytes = 8;

/**
 * Reads and checks a header: 8 bytes of length, a JSON object of that length, then the tensors without gaps up to the end.
 * `allocate` is replaced in tests, which check that no request exceeds the file.
 * @throws LLMOPT_SAFETENSORS_INVALID, LLMOPT_SAFETENSORS_UNSUPPORTED, LLMOPT_FILE_CHANGED
 */
export async function readSafetensorsHeader(
  source: Source,
  allocate: (bytes: number) => Buffer = Buffer.allocUnsafeSlow,
): Promise<SafetensorsHeader> {
  const { path, size } = source;
  if (size < lengthBytes) throw invalid(path, `it has ${size} bytes; the header alone takes more`);
  const prefix = allocate(lengthBytes);
  await source.read(prefix, 0);
  const length = prefix.readBigUInt64LE();
  if (length > maxHeaderBytes) throw invalid(path, `its header is said to have ${length} bytes`);
  const headerBytes = Number(length);
  const dataStart = lengthBytes + headerBytes;
  if (dataStart > size) throw invalid(path, `its header is said to have ${headerBytes} bytes, the file has ${size}`);
  const bytes = allocate(headerBytes);
  await source.read(bytes, lengthBytes);
  const header = parseHeader(path, bytes);

  const { __metadata__: metadata, ...entries } = header;
  const tensors = Object.entries(entries)
    .map(([name, entry]) => readTensorEntry(path, name, entry, dataStart))
    .sort((a, b) => a.position - b.position || a.byteLength - b.byteLength);
  checkPlaces(path, tensors, dataStart, size);
  return {
    metadata: readMetadata(path, metadata),
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
  };
}

export function invalid(path: string, problem: string, cause?: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_SAFETENSORS_INVALID', `${path} is not a sound safetensors file: ${problem}.`, {
    where: { file: path },
    hint: 'The file is truncated or corrupted; download or convert it again.',
    cause,
  });
}

function parseHeader(path: string, bytes: Buffer): JsonObject {
  let header: unknown;
  try {
    header = parseJson(decodeUtf8(bytes));
  } catch (cause) {
    throw invalid(path, `its header cannot be read: ${(cause as Error).message}`, cause);
  }
  // The format has no byte order mark and no space in front.
  if (bytes[0] !== 0x7b || !isJsonObject(header)) throw invalid(path, 'its header is no JSON object');
  return header;
}

function readMetadata(path: string, metadata: unknown): Map<string, string> {
  if (metadata === undefined) return new Map();
  if (!isJsonObject(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw invalid(path, '__metadata__ is no object of texts');
  }
  return new Map(Object.entries(metadata as Record<string, string>));
}

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function readTensorEntry(path: string, name: string, entry: unknown, dataStart: number): SafetensorsTensor {
  const what = `tensor ${JSON.stringify(name)}`;
  if (!isJsonObject(entry)) throw invalid(path, `${what} is described by no object`);
  const { dtype: type, shape, data_offsets: offsets } = entry;
  if (typeof type !== 'string') throw invalid(path, `${what} has no dtype`);
  if (!Array.isArray(shape) || !shape.every(isSize)) throw invalid(path, `${what} has no shape of whole numbers`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize)) {
    throw invalid(path, `${what} has no two offsets`);
  }
  const [begin, end] = offsets as [number, number];
  if (end < begin) throw invalid(path, `${what} ends at ${end}, before its start at ${begin}`);
  if (!Object.hasOwn(elementBits, type)) {
    throw new LlmoptError(
      'LLMOPT_SAFETENSORS_UNSUPPORTED',
      `${path} holds ${what} in the unknown type ${JSON.stringify(type)}.`,
      { where: { file: path, tensor: name } },
    );
  }
  let elements = 1;
  for (const dimension of shape) {
    elements *= dimension;
    if (!Number.isSafeInteger(elements * 64)) throw invalid(path, `${what} has the impossible shape [${shape}]`);
  }
  const bits = elements * elementBits[type]!;
  if (bits !== (end - begin) * 8) {
    throw invalid(path, `${what}, [${shape}] ${type}, takes ${bits / 8} bytes, but has ${end - begin} in the file`);
  }
  return { name, shape, type, byteLength: end - begin, elements, position: dataStart + begin };
}

/** Each tensor starts where the one before it ends, and the last ends with the file. */
function checkPlaces(path: string, tensors: readonly SafetensorsTensor[], dataStart: number, size: number): void {
  let at = dataStart;
  for (const { name, position, byteLength } of tensors) {
    if (position !== at) {
      const problem = position < at ? 'overlaps the one before it' : `leaves ${position - at} bytes unused before it`;
      throw invalid(path, `tensor ${JSON.stringify(name)} ${problem}`);
    }
    at += byteLength;
    if (at > size) throw invalid(path, `tensor ${JSON.stringify(name)} ends at byte ${at}, the file at ${size}`);
  }
  if (at < size) throw invalid(path, `${size - at} bytes after the last tensor belong to none`);
}
