/** Bytes of a GGUF file, written without any check, so that tests can make broken ones. */
export interface RawGguf {
  magic?: string;
  version?: number;
  /** Default: as many as there are. */
  tensorCount?: bigint;
  metadataCount?: bigint;
  metadata?: Uint8Array[];
  tensors?: Uint8Array[];
  /** Bytes of data behind the header. Default 256. */
  dataBytes?: number;
  /** Default 32. */
  alignment?: number;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};

export const u64 = (value: number | bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
  return bytes;
};

export const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** A metadata field: key, number of the type, bytes of the value. */
export const field = (key: string, type: number, value: Uint8Array): Buffer =>
  Buffer.concat([text(key), u32(type), value]);

/** The description of a tensor; `sizes` fastest dimension first, as the file has them. */
export const tensor = (
  name: string,
  sizes: readonly (number | bigint)[],
  type: number,
  offset: number | bigint,
): Buffer => Buffer.concat([text(name), u32(sizes.length), ...sizes.map(u64), u32(type), u64(offset)]);

export const architecture = field('general.architecture', 8, text('llama'));

export function rawGguf(options: RawGguf = {}): Buffer {
  const {
    magic = 'GGUF',
    version = 3,
    metadata = [architecture],
    tensors = [],
    dataBytes = 256,
    alignment = 32,
  } = options;
  const header = Buffer.concat([
    Buffer.from(magic),
    u32(version),
    u64(options.tensorCount ?? tensors.length),
    u64(options.metadataCount ?? metadata.length),
    ...metadata,
    ...tensors,
  ]);
  return Buffer.concat([
    header,
    Buffer.alloc((alignment - (header.length % alignment)) % alignment),
    Buffer.alloc(dataBytes),
  ]);
}
