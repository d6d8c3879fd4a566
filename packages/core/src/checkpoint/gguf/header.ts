import { LlmoptError } from '../../errors.ts';
import { createStringListBuilder } from '../../strings/builder.ts';
import type { StringList } from '../../strings/stringList.ts';
import type { MetadataValue } from '../checkpoint.ts';
import { type TensorType, tensorFormats } from '../dequantize/formats.ts';
import { createMetadata, type Metadata, type NumberList } from '../metadata.ts';
import type { StoredTensor } from '../readTensor.ts';
import type { PieceReader } from './pieceReader.ts';
import {
  type ElementType,
  elementBytes,
  elementTypes,
  type MetadataType,
  tensorTypeIds,
  unsupportedTensorTypes,
} from './types.ts';

export interface GgufHeader {
  readonly version: number;
  readonly metadata: Metadata;
  readonly metadataTypes: Map<string, MetadataType>;
  readonly tensors: Map<string, StoredTensor>;
}

const magic = 0x46554747;
const keyBytes = 65_535;
const nameBytes = 1_024;
const maxDimensions = 4;
// More than any vocabulary by far.
const maxListElements = 16_777_216;
// Key length, key of at least one byte, type, value.
const leastMetadataBytes = 8 + 1 + 4 + 1;
// Name length, name of at least one byte, number of dimensions, one dimension, type, offset.
const leastTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

const tensorTypes = new Map(Object.entries(tensorTypeIds).map(([name, id]) => [id, name as TensorType]));

function unsupported(path: string, what: string, hint: string): LlmoptError {
  return new LlmoptError('LLMOPT_GGUF_UNSUPPORTED', `${path} ${what}.`, { where: { file: path }, hint });
}

async function readText(reader: PieceReader, limit: number, what: string): Promise<string> {
  await reader.need(8, `the length of ${what}`);
  const bytes = reader.uint64(`the length of ${what}`);
  if (bytes > limit) throw reader.invalid(`${what} is ${bytes} bytes long`);
  await reader.need(bytes, what);
  return reader.text(bytes);
}

async function readCount(reader: PieceReader, what: string, leastBytes: number, size: number): Promise<number> {
  await reader.need(8, `the number of ${what}`);
  const count = reader.uint64(`the number of ${what}`);
  if (count > (size - reader.position()) / leastBytes) {
    throw reader.invalid(`it announces ${count} ${what}, more than a file of ${size} bytes can hold`);
  }
  return count;
}

/** One element that is in memory. */
function readElement(reader: PieceReader, type: Exclude<ElementType, 'string'>, what: string): number | boolean {
  switch (type) {
    case 'bool': {
      const value = reader.uint8();
      if (value > 1) throw reader.invalid(`${what} is a boolean of the value ${value}`);
      return value === 1;
    }
    case 'uint64':
    case 'int64':
      return reader[type](what);
    default:
      return reader[type]();
  }
}

function elementType(reader: PieceReader, id: number, what: string): (typeof elementTypes)[number] {
  const type = elementTypes[id];
  if (type) return type;
  throw reader.invalid(`${what} has the unknown metadata type ${id}`);
}

async function readValue(
  reader: PieceReader,
  path: string,
  size: number,
  key: string,
): Promise<{ type: MetadataType; value: MetadataValue | StringList | NumberList }> {
  const what = `metadata field "${key}"`;
  await reader.need(4, what);
  const type = elementType(reader, reader.uint32(), what);
  if (type !== 'array') {
    if (type === 'string') return { type, value: await readText(reader, Infinity, what) };
    await reader.need(elementBytes[type], what);
    return { type, value: readElement(reader, type, what) };
  }
  await reader.need(4, what);
  const of = elementType(reader, reader.uint32(), what);
  if (of === 'array') throw unsupported(path, `has a list of lists in ${what}`, 'Only flat lists can be read.');
  const count = await readCount(reader, `elements in ${what}`, elementBytes[of], size);
  if (count > maxListElements)
    throw unsupported(path, `has ${count} elements in ${what}`, `At most ${maxListElements} can be read.`);
  return { type: `${of}[]`, value: await readList(reader, path, of, count, what) };
}

const numberLists = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
} as const;

/** A list, packed where its type allows. `count` has been checked against the size of the file. */
async function readList(
  reader: PieceReader,
  path: string,
  of: ElementType,
  count: number,
  what: string,
): Promise<MetadataValue | StringList | NumberList> {
  if (of === 'string') return readStrings(reader, path, count, what);
  await reader.need(count * elementBytes[of], what);
  if (of in numberLists) {
    const bytes = Uint8Array.from(reader.bytes(count * elementBytes[of]));
    return new numberLists[of as keyof typeof numberLists](bytes.buffer);
  }
  return Array.from({ length: count }, () => readElement(reader, of, what)) as number[] | boolean[];
}

// So few are read one by one.
const FEW_STRINGS = 100;

async function readStrings(reader: PieceReader, path: string, count: number, what: string): Promise<StringList> {
  const builder = createStringListBuilder(count);
  while (builder.length() < count) {
    if (count > FEW_STRINGS) reader.bytes(builder.take(reader.ahead()));
    if (builder.length() === count) break;
    // The next one is not all in memory, or announces more than there is.
    await reader.need(8, what);
    const bytes = reader.uint64(`the length of ${what}`);
    if (!builder.fits(bytes)) throw unsupported(path, `has 2 GiB in ${what}`, 'Lists of less can be read.');
    await reader.need(bytes, what);
    builder.push(reader.bytes(bytes));
  }
  return builder.list();
}

interface RawTensor {
  name: string;
  shape: number[];
  type: TensorType;
  elements: number;
  byteLength: number;
  /** From the start of the data. */
  offset: number;
}

async function readTensor(reader: PieceReader, path: string): Promise<RawTensor> {
  const name = await readText(reader, nameBytes, 'a tensor name');
  const what = `tensor "${name}"`;
  await reader.need(4, what);
  const dimensions = reader.uint32();
  if (dimensions < 1 || dimensions > maxDimensions) throw reader.invalid(`${what} has ${dimensions} dimensions`);
  await reader.need(dimensions * 8 + 4 + 8, what);
  const sizes = Array.from({ length: dimensions }, () => reader.uint64(`a dimension of ${what}`));
  const elements = sizes.reduce((product, size) => product * size, 1);
  if (elements < 1 || !Number.isSafeInteger(elements))
    throw reader.invalid(`${what} has the impossible shape [${sizes.toReversed()}]`);
  const id = reader.uint32();
  const type = tensorTypes.get(id);
  if (!type) {
    throw unsupported(
      path,
      `holds ${what} in the ${id in unsupportedTensorTypes ? `type ${unsupportedTensorTypes[id]}` : `unknown type ${id}`}`,
      `Readable types: ${Object.keys(tensorFormats).join(', ')}.`,
    );
  }
  const { blockElements, blockBytes } = tensorFormats[type];
  if (sizes[0]! % blockElements !== 0) {
    throw reader.invalid(`${what} has rows of ${sizes[0]} values, but ${type} comes in blocks of ${blockElements}`);
  }
  const byteLength = (elements / blockElements) * blockBytes;
  const offset = reader.uint64(`the offset of ${what}`);
  return { name, shape: sizes.reverse(), type, elements, byteLength, offset };
}

/**
 * Reads a header. Every count, length and offset is checked against the size of the file before anything
 * is allocated for it.
 * @throws LLMOPT_GGUF_INVALID, LLMOPT_GGUF_UNSUPPORTED
 */
export async function readHeader(reader: PieceReader, path: string, size: number): Promise<GgufHeader> {
  await reader.need(8, 'the header');
  if (reader.uint32() !== magic) throw reader.invalid('it does not start with "GGUF"');
  const version = reader.uint32();
  if (version !== 2 && version !== 3) {
    const swapped = version !== 0 && (version & 0xffff) === 0;
    throw unsupported(
      path,
      swapped ? 'is a big-endian GGUF file' : `is a GGUF file of version ${version}`,
      'Little-endian files of version 2 and 3 can be read.',
    );
  }
  const tensorCount = await readCount(reader, 'tensors', leastTensorBytes, size);
  const metadataCount = await readCount(reader, 'metadata fields', leastMetadataBytes, size);

  const metadata = new Map<string, MetadataValue | StringList | NumberList>();
  const metadataTypes = new Map<string, MetadataType>();
  for (let index = 0; index < metadataCount; index++) {
    const key = await readText(reader, keyBytes, 'a metadata key');
    if (metadata.has(key)) throw reader.invalid(`metadata field "${key}" appears twice`);
    const { type, value } = await readValue(reader, path, size, key);
    metadata.set(key, value);
    metadataTypes.set(key, type);
  }

  const alignment = metadata.get('general.alignment') ?? 32;
  if (
    typeof alignment !== 'number' ||
    !Number.isInteger(alignment) ||
    alignment < 1 ||
    !Number.isInteger(Math.log2(alignment)) ||
    alignment > size
  ) {
    throw reader.invalid(`general.alignment is ${JSON.stringify(alignment).slice(0, 40)}, not a power of two`);
  }

  const raw = new Map<string, RawTensor>();
  for (let index = 0; index < tensorCount; index++) {
    const tensor = await readTensor(reader, path);
    if (raw.has(tensor.name)) throw reader.invalid(`tensor "${tensor.name}" appears twice`);
    raw.set(tensor.name, tensor);
  }

  const dataStart = Math.ceil(reader.position() / alignment) * alignment;
  const tensors = new Map<string, StoredTensor>();
  for (const { offset, ...tensor } of raw.values()) {
    const position = dataStart + offset;
    if (offset % alignment !== 0)
      throw reader.invalid(`tensor "${tensor.name}" starts at ${offset}, no multiple of the alignment ${alignment}`);
    if (position + tensor.byteLength > size) {
      throw reader.invalid(
        `tensor "${tensor.name}" ends at byte ${position + tensor.byteLength}, but the file has ${size}`,
      );
    }
    tensors.set(tensor.name, { ...tensor, position });
  }
  return { version, metadata: createMetadata(metadata), metadataTypes, tensors };
}
