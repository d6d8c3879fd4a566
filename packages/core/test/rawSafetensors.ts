/** A safetensors file from any header, right or wrong: its length, the text, the data. */
export function rawSafetensors(header: unknown, data: number | Uint8Array = 0, length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, typeof data === 'number' ? Buffer.alloc(data) : data]);
}

/** What a header says of a tensor. */
export const entry = (dtype: unknown, shape: unknown, ...data_offsets: unknown[]) => ({ dtype, shape, data_offsets });
