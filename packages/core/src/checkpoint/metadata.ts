import { packStrings, type StringList, unpackStrings } from '../strings/stringList.ts';
import type { MetadataValue } from './checkpoint.ts';

/** A list of numbers as the file has them. */
export type NumberList =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array;

/** Metadata by key. Lists may be kept packed, without a JavaScript value per element: `get` then makes a new array each time. */
export interface Metadata extends ReadonlyMap<string, MetadataValue> {
  /** A packed list as it is kept; undefined for anything else. */
  packed?(key: string): StringList | NumberList | undefined;
}

type Entries = ReadonlyMap<string, MetadataValue | StringList | NumberList>;

/** Metadata of which some lists are packed. */
export function createMetadata(entries: Entries): Metadata {
  const get = (key: string) => unpacked(entries.get(key));
  function* pairs(): Generator<[string, MetadataValue], undefined> {
    for (const [key, value] of entries) yield [key, unpacked(value)!];
    return undefined;
  }
  return {
    get,
    packed(key) {
      const value = entries.get(key);
      return isPacked(value) ? value : undefined;
    },
    has: (key) => entries.has(key),
    size: entries.size,
    keys: () => entries.keys(),
    values: function* values() {
      for (const [, value] of pairs()) yield value;
      return undefined;
    },
    entries: pairs,
    [Symbol.iterator]: pairs,
    forEach(call) {
      for (const [key, value] of pairs()) call(value, key, this);
    },
  };
}

/** The strings of a metadata field, packed; undefined when it is no list of strings. */
export function packedStrings(metadata: Metadata, key: string): StringList | undefined {
  const packed = metadata.packed?.(key);
  if (isStringList(packed)) return packed;
  const value = metadata.get(key);
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? packStrings(value) : undefined;
}

/** The numbers of a metadata field, packed where they are kept so; undefined when it is no list of numbers. */
export function packedNumbers(metadata: Metadata, key: string): NumberList | readonly number[] | undefined {
  const packed = metadata.packed?.(key);
  if (ArrayBuffer.isView(packed)) return packed;
  const value = metadata.get(key);
  return Array.isArray(value) && value.every((item) => typeof item === 'number') ? value : undefined;
}

type Packed = StringList | NumberList;

const isStringList = (value: MetadataValue | Packed | undefined): value is StringList =>
  typeof value === 'object' && 'ends' in value;

const isPacked = (value: MetadataValue | Packed | undefined): value is Packed =>
  ArrayBuffer.isView(value) || isStringList(value);

function unpacked(value: MetadataValue | Packed | undefined): MetadataValue | undefined {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  return isStringList(value) ? unpackStrings(value) : value;
}
