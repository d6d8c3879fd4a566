import { open } from 'node:fs/promises';

/** Logits that were written down, row by row. Imports no model code: the process of another engine reads them too. */
export interface LogitsReader {
  /** Fills `row` with the next one; false where the file ends before that. */
  next(row: Float32Array): Promise<boolean>;
  close(): Promise<void>;
}

/** Opens a file of float32 `[positions, vocabulary]`. */
export async function openLogits(file: string): Promise<LogitsReader> {
  const handle = await open(file, 'r');
  return {
    async next(row) {
      const bytes = new Uint8Array(row.buffer, row.byteOffset, row.byteLength);
      return (await handle.read(bytes, 0, bytes.length)).bytesRead === bytes.length;
    },
    close: () => handle.close(),
  };
}
