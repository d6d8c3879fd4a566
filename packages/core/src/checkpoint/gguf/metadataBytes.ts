import { LlmoptError } from '../../errors.ts';
import type { MetadataValue } from '../checkpoint.ts';
import { type ElementType, elementBytes, elementTypes, type MetadataType } from './types.ts';

/** A metadata value together with its type in the file. */
export interface TypedMetadata {
  readonly type: MetadataType;
  readonly value: MetadataValue;
}

const ranges: Partial<Record<ElementType, readonly [least: number, most: number]>> = {
  uint8: [0, 255],
  int8: [-128, 127],
  uint16: [0, 65_535],
  int16: [-32_768, 32_767],
  uint32: [0, 2 ** 32 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint64: [0, Number.MAX_SAFE_INTEGER],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
};

/** A string as GGUF writes it: its length in bytes as uint64, then UTF-8. */
export function stringBytes(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return Buffer.concat([integerBytes(bytes.length, 8), bytes]);
}

/** A safe, non-negative integer, little endian. */
export function integerBytes(value: number, bytes: 4 | 8): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 4) buffer.writeUInt32LE(value);
  else buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function elementBuffer(type: ElementType, value: unknown, key: string): Buffer {
  const wrong = () =>
    new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `Metadata field "${key}" is of type ${type}, but holds ${JSON.stringify(value)}.`,
      { where: { field: key } },
    );
  if (type === 'string') {
    if (typeof value !== 'string') throw wrong();
    return stringBytes(value);
  }
  if (type === 'bool') {
    if (typeof value !== 'boolean') throw wrong();
    return Buffer.of(value ? 1 : 0);
  }
  if (typeof value !== 'number') throw wrong();
  const range = ranges[type];
  if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) throw wrong();
  const bytes = elementBytes[type];
  const buffer = Buffer.alloc(bytes);
  if (type === 'float32') buffer.writeFloatLE(value);
  else if (type === 'float64') buffer.writeDoubleLE(value);
  else if (type === 'uint64' || type === 'int64') buffer.writeBigInt64LE(BigInt(value));
  else if (range && range[0] < 0) buffer.writeIntLE(value, 0, bytes);
  else buffer.writeUIntLE(value, 0, bytes);
  return buffer;
}

/**
 * Type and value of a metadata field as GGUF writes them.
 * @throws LLMOPT_OPTION_INVALID when the value does not fit its type
 */
export function metadataBytes(key: string, { type, value }: TypedMetadata): Buffer {
  const id = (of: (typeof elementTypes)[number]) => integerBytes(elementTypes.indexOf(of), 4);
  if (!type.endsWith('[]'))
    return Buffer.concat([id(type as ElementType), elementBuffer(type as ElementType, value, key)]);
  const of = type.slice(0, -2) as ElementType;
  if (!Array.isArray(value)) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `Metadata field "${key}" is of type ${type}, but holds no list.`, {
      where: { field: key },
    });
  }
  return Buffer.concat([
    id('array'),
    id(of),
    integerBytes(value.length, 8),
    ...value.map((element) => elementBuffer(of, element, key)),
  ]);
}
