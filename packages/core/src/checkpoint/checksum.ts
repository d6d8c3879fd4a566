import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LlmoptError } from '../errors.ts';
import { writeAtomically } from './atomicFile.ts';
import { defaultCacheFolder } from './cacheFolder.ts';

export interface ChecksumOptions {
  /** Folder of `checksums.json`. Default: the user's cache folder; `false` remembers nothing. */
  cacheDir?: string | false | undefined;
  /** Called with the share of the file that is done, from 0 to 1. */
  onProgress?: ((fraction: number) => void) | undefined;
  signal?: AbortSignal | undefined;
}

interface Remembered {
  size: number;
  /** As text: nanoseconds since 1970 exceed the safe integers. */
  modifiedNs: string;
  sha256: string;
}

const maxRemembered = 256;

/**
 * SHA-256 of a file in hex, streamed, and remembered in `<cacheDir>/checksums.json` by path, size and modification
 * time. A list that cannot be read or written is no error: the sum is computed again.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_FILE_CHANGED, LLMOPT_ABORTED
 */
export async function fileChecksum(path: string, options: ChecksumOptions = {}): Promise<string> {
  const { cacheDir = defaultCacheFolder() } = options;
  const file = resolve(path);
  const before = await identity(file);
  const list = cacheDir === false ? undefined : join(cacheDir, 'checksums.json');
  const known = list ? (await readList(list))[file] : undefined;
  if (known && known.size === before.size && known.modifiedNs === before.modifiedNs) return known.sha256;

  const sha256 = await hash(file, before.size, options);
  const after = await identity(file);
  if (after.size !== before.size || after.modifiedNs !== before.modifiedNs) {
    throw new LlmoptError('LLMOPT_FILE_CHANGED', `${path} changed while its checksum was computed.`, {
      where: { file: path },
    });
  }
  if (list) await remember(list, file, { ...before, sha256 });
  return sha256;
}

async function identity(file: string) {
  try {
    const stats = await stat(file, { bigint: true });
    return { size: Number(stats.size), modifiedNs: String(stats.mtimeNs) };
  } catch (cause) {
    throw unreadable(file, cause);
  }
}

function unreadable(file: string, cause: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${file} cannot be read: ${(cause as Error).message}.`, {
    where: { file },
    hint: 'Check the path and the permissions.',
    cause,
  });
}

async function hash(file: string, size: number, { signal, onProgress }: ChecksumOptions): Promise<string> {
  const sum = createHash('sha256');
  let done = 0;
  try {
    for await (const part of createReadStream(file, { highWaterMark: 1024 * 1024, signal: signal ?? undefined })) {
      sum.update(part);
      done += part.length;
      onProgress?.(size === 0 ? 1 : Math.min(1, done / size));
    }
  } catch (cause) {
    if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', `The checksum of ${file} was aborted.`, { cause });
    throw unreadable(file, cause);
  }
  return sum.digest('hex');
}

function isRemembered(value: unknown): value is Remembered {
  const { size, modifiedNs, sha256 } = (value ?? {}) as Partial<Remembered>;
  return (
    typeof size === 'number' &&
    typeof modifiedNs === 'string' &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256)
  );
}

async function readList(list: string): Promise<Record<string, Remembered>> {
  try {
    const parsed: unknown = JSON.parse(await readFile(list, 'utf8'));
    return Object.fromEntries(Object.entries(parsed as object).filter(([, value]) => isRemembered(value)));
  } catch {
    return {};
  }
}

async function remember(list: string, file: string, entry: Remembered): Promise<void> {
  const { [file]: _, ...others } = await readList(list);
  const entries = [...Object.entries(others), [file, entry] as const].slice(-maxRemembered);
  try {
    await writeAtomically(list, async (target) => {
      await target.writeFile(`${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
    });
  } catch {
    // Without the list the next call computes the sum again.
  }
}
