import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import { withLock } from './lock.ts';
import { aborted, type Transfer } from './transfer.ts';

/** A place that a file can be had from. */
export interface Source {
  /** For messages, such as "the hub". */
  readonly name: string;
  deliver(file: FileHandle, transfer: Transfer): Promise<void>;
}

/**
 * Gets a file from the first source that delivers it. It appears under its name when it is complete and checked. Of two
 * processes that want the same file one downloads and the other waits. What a cut download has left is removed before and after.
 *
 * @param isThere tells whether the file is already as it should be; asked when no other process works on it
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function fetchFile(
  path: string,
  sources: readonly Source[],
  transfer: Omit<Transfer, 'folder'>,
  isThere: () => Promise<boolean>,
): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
  } catch (cause) {
    throw new LlmoptError('LLMOPT_WRITE_FAILED', `${dirname(path)} cannot be created: ${(cause as Error).message}.`, {
      hint: 'Check the permissions, or name another cache folder in LLMOPT_CACHE.',
      cause,
    });
  }
  if (await isThere()) return;
  await withLock(`${path}.lock`, transfer.signal, async () => {
    await removeLeftovers(path);
    if (await isThere()) return;
    const problems: LlmoptError[] = [];
    for (const source of sources) {
      if (transfer.signal?.aborted) throw aborted(transfer.name, transfer.signal);
      try {
        await fetchFrom(source, path, transfer);
        return;
      } catch (error) {
        if (!LlmoptError.isInstance(error) || !isFaultOfSource(error)) throw error;
        problems.push(error);
      }
    }
    throw summary(transfer.name, sources, problems);
  });
}

const isFaultOfSource = ({ code }: LlmoptError) =>
  code === 'LLMOPT_DOWNLOAD_FAILED' || code === 'LLMOPT_CHECKSUM_MISMATCH';

function summary(name: string, sources: readonly Source[], problems: readonly LlmoptError[]): LlmoptError {
  if (problems.length === 1) return problems[0]!;
  return new LlmoptError('LLMOPT_DOWNLOAD_FAILED', `No source delivered ${name}:`, {
    problems: problems.map(({ message }, index) => `${sources[index]!.name}: ${message}`),
    hint: 'Check the connection, or give the path of a GGUF file.',
    cause: problems[0],
  });
}

const partSuffix = '.part';

async function removeLeftovers(path: string): Promise<void> {
  const folder = dirname(path);
  for (const entry of await readdir(folder)) {
    if (entry.startsWith(`${basename(path)}.`) && entry.endsWith(partSuffix))
      await rm(join(folder, entry), { recursive: true, force: true });
  }
}

async function fetchFrom(source: Source, path: string, transfer: Omit<Transfer, 'folder'>): Promise<void> {
  const folder = `${path}.${randomBytes(6).toString('hex')}${partSuffix}`;
  const temporary = join(folder, 'complete');
  try {
    await mkdir(folder);
    const file = await open(temporary, 'wx');
    try {
      await source.deliver(file, { ...transfer, folder });
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    if (LlmoptError.isInstance(cause)) throw cause;
    throw new LlmoptError('LLMOPT_WRITE_FAILED', `${path} cannot be written: ${(cause as Error).message}.`, {
      where: { file: path },
      cause,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
