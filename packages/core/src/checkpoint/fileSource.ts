import { type FileHandle, open } from 'node:fs/promises';
import { LlmoptError } from '../errors.ts';
import type { Source } from './gguf/pieceReader.ts';

/** A file that is open for reading, and that notices when it changes. */
export interface FileSource extends Source {
  /** Last change, in nanoseconds since 1970. */
  readonly modifiedNs: bigint;
  /** @throws LLMOPT_FILE_CHANGED when size or modification time are not what they were */
  checkUnchanged(): Promise<void>;
  close(): Promise<void>;
}

/** @throws LLMOPT_FILE_NOT_FOUND */
export async function openFile(path: string): Promise<FileSource> {
  let handle: FileHandle | undefined;
  let stats: Awaited<ReturnType<typeof statOf>>;
  try {
    handle = await open(path, 'r');
    stats = await statOf(handle);
    if (!stats.isFile()) throw new Error('it is not a file');
  } catch (cause) {
    await handle?.close();
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} cannot be read: ${reason(cause)}.`, {
      where: { file: path },
      hint: 'Check the path and the permissions.',
      cause,
    });
  }
  const file = handle;
  let closed = false;
  const size = Number(stats.size);
  const changed = () =>
    new LlmoptError('LLMOPT_FILE_CHANGED', `${path} changed while it was open.`, {
      where: { file: path },
      hint: 'Load the model again, and replace model files by renaming, not in place.',
    });
  const checkOpen = () => {
    if (closed)
      throw new LlmoptError('LLMOPT_DISPOSED', `${path} was closed before this read.`, { where: { file: path } });
  };
  return {
    path,
    size,
    modifiedNs: stats.mtimeNs,
    async read(target, position) {
      checkOpen();
      for (let done = 0; done < target.length; ) {
        const { bytesRead } = await file.read(target, done, target.length - done, position + done);
        if (bytesRead === 0) throw changed();
        done += bytesRead;
      }
    },
    async checkUnchanged() {
      checkOpen();
      const now = await statOf(file);
      if (now.size !== stats.size || now.mtimeNs !== stats.mtimeNs) throw changed();
    },
    async close() {
      if (closed) return;
      closed = true;
      await file.close();
    },
  };
}

const statOf = (handle: FileHandle) => handle.stat({ bigint: true });

function reason(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'there is no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  return message;
}
