import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import { refuseOffline } from './environment.ts';
import { withLock } from './lock.ts';
import { aborted, type Transfer } from './transfer.ts';

/** A place that a file can be had from. */
export interface Source {
  /** For messages, such as "the hub". */
  readonly name: string;
  /** Resolves to the path of the complete and checked file, in the folder of the transfer or at one of its partial names. */
  deliver(transfer: Transfer): Promise<string>;
}

/** All of a transfer but its places, which are beside the file. */
export type TransferOptions = Omit<Transfer, 'folder' | 'partial'>;

/**
 * Gets a file from the first source that delivers it. It appears under its name when it is complete and checked. Of two
 * processes that want the same file one downloads and the other waits. Of what a cut download has left, only the beginning of a
 * file whose checksum is known is kept, for the next call to go on with; it goes when the file is there.
 *
 * @param isThere tells whether the file is already as it should be; asked when no other process works on it
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_MODEL_NOT_FOUND, LLMOPT_ACCESS_DENIED, LLMOPT_OFFLINE,
 * LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function fetchFile(
  path: string,
  sources: readonly Source[],
  transfer: TransferOptions,
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
  refuseOffline(transfer.name);
  await withLock(`${path}.lock`, transfer.signal, async () => {
    await removeLeftovers(path, [folderSuffix]);
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
  code === 'LLMOPT_DOWNLOAD_FAILED' ||
  code === 'LLMOPT_CHECKSUM_MISMATCH' ||
  code === 'LLMOPT_MODEL_NOT_FOUND' ||
  code === 'LLMOPT_ACCESS_DENIED';

function summary(name: string, sources: readonly Source[], problems: readonly LlmoptError[]): LlmoptError {
  if (problems.length === 1) return problems[0]!;
  return new LlmoptError('LLMOPT_DOWNLOAD_FAILED', `No source delivered ${name}:`, {
    problems: problems.map(({ message }, index) => `${sources[index]!.name}: ${message}`),
    hint: 'Check the connection, or give the path of a GGUF file.',
    cause: problems[0],
  });
}

const folderSuffix = '.part';
const partialSuffix = '.partial';

async function removeLeftovers(path: string, suffixes: readonly string[]): Promise<void> {
  const folder = dirname(path);
  for (const entry of await readdir(folder)) {
    if (entry.startsWith(`${basename(path)}.`) && suffixes.some((suffix) => entry.endsWith(suffix)))
      await rm(join(folder, entry), { recursive: true, force: true });
  }
}

async function fetchFrom(source: Source, path: string, transfer: TransferOptions): Promise<void> {
  const folder = `${path}.${randomBytes(6).toString('hex')}${folderSuffix}`;
  try {
    await mkdir(folder);
    const partial = (checksum: string) => `${path}.${checksum.slice(0, 16)}${partialSuffix}`;
    await rename(await source.deliver({ ...transfer, folder, partial }), path);
    await removeLeftovers(path, [partialSuffix]);
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
