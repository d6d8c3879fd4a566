import type { FileHandle } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';
import type { Param } from '../../graph/graph.ts';
import { isBytes, type ModelPart, paramBytes } from './encode.ts';

const CHUNK_BYTES = 16 * 2 ** 20;

/** Called with the bytes that were written. */
export type OnWritten = (bytes: number) => void;

/** Writes parts one behind the other, weights a few rows at a time. @throws LLMOPT_TENSOR_SHAPE, and what reading them throws */
export async function writeParts(file: FileHandle, parts: readonly ModelPart[], onWritten: OnWritten): Promise<void> {
  let small: Uint8Array[] = [];
  const flush = async () => {
    const bytes = Buffer.concat(small);
    small = [];
    await writeAll(file, bytes);
    onWritten(bytes.byteLength);
  };
  for (const part of parts) {
    if (isBytes(part)) small.push(part);
    else {
      await flush();
      await writeParam(file, part, onWritten);
    }
  }
  await flush();
}

export async function writeParam(file: FileHandle, param: Param, onWritten: OnWritten): Promise<void> {
  const [rows = 1, ...rest] = param.shape;
  const width = rest.reduce((product, size) => product * size, 1);
  const rowsAtOnce = Math.max(1, Math.floor(CHUNK_BYTES / 4 / width));
  let written = 0;
  for (let from = 0; from < rows; from += rowsAtOnce) {
    const values =
      rowsAtOnce >= rows ? await param.read() : await param.read([from, Math.min(from + rowsAtOnce, rows)]);
    await writeAll(file, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    written += values.byteLength;
    onWritten(values.byteLength);
  }
  if (written !== paramBytes(param)) {
    throw new LlmoptError(
      'LLMOPT_TENSOR_SHAPE',
      `A parameter of shape [${param.shape}] read ${written / 4} numbers (${param.key}).`,
    );
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength; ) {
    at += (await file.write(bytes, at, bytes.byteLength - at)).bytesWritten;
  }
}
