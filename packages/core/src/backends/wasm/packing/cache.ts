import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';

/** Raised whenever the bytes of packed weights change their meaning. */
export const layoutVersion = 6;

const MAGIC = 'llmopt-packed';
const HEADER_BYTES = 128;
const CHUNK = 16 * 1024 * 1024;

/** Name of a cache entry: a hash over everything that the bytes depend on. */
export function cacheKey(parts: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify([MAGIC, layoutVersion, parts]))
    .digest('hex');
}

const header = (key: string, length: number, digest: string) =>
  Buffer.from(`${MAGIC} ${key.slice(0, 32)} ${length} ${digest}`.padEnd(HEADER_BYTES));

/** A sum that catches cut and damaged files at memory speed; the key already names the content. */
export type Checksum = (bytes: Uint8Array) => string;

/** Reads a cache entry into `target`; false when there is none that fits, and then `target` may hold anything. */
export async function readPacked(
  folder: string,
  key: string,
  target: Uint8Array,
  checksum: Checksum,
): Promise<boolean> {
  const file = await open(path.join(folder, `${key}.bin`)).catch(() => undefined);
  if (!file) return false;
  try {
    const { size } = await file.stat();
    if (size !== HEADER_BYTES + target.byteLength) return false;
    const head = Buffer.alloc(HEADER_BYTES);
    await file.read(head, 0, HEADER_BYTES, 0);
    for (let at = 0; at < target.byteLength; ) {
      const { bytesRead } = await file.read(target, at, Math.min(CHUNK, target.byteLength - at), HEADER_BYTES + at);
      if (bytesRead === 0) return false;
      at += bytesRead;
    }
    return head.equals(header(key, target.byteLength, checksum(target)));
  } catch {
    return false;
  } finally {
    await file.close();
  }
}

/** Writes a cache entry atomically. A cache that cannot be written is no error: the weights are in memory. */
export async function writePacked(
  folder: string,
  key: string,
  packed: Uint8Array,
  checksum: Checksum,
): Promise<boolean> {
  const temporary = path.join(folder, `${key}.${randomUUID()}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(temporary, 'wx');
    try {
      await file.write(header(key, packed.byteLength, checksum(packed)));
      // Through a copy of a chunk: not every file system call takes shared memory.
      const copy = Buffer.alloc(Math.min(CHUNK, packed.byteLength));
      for (let at = 0; at < packed.byteLength; at += CHUNK) {
        const chunk = packed.subarray(at, at + CHUNK);
        copy.set(chunk);
        await file.writeFile(copy.subarray(0, chunk.length));
      }
    } finally {
      await file.close();
    }
    await rename(temporary, path.join(folder, `${key}.bin`));
    return true;
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined);
    return false;
  }
}
