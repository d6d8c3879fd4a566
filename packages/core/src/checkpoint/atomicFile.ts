import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { LlmoptError } from '../errors.ts';

/**
 * Lets `fill` write a file beside `path` under a temporary name, then gives it its name. When `fill` or anything
 * else fails, the temporary file is removed and `path` stays as it was.
 * @throws LLMOPT_WRITE_FAILED, and what `fill` throws
 */
export async function writeAtomically(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  const failed = (cause: unknown) =>
    LlmoptError.isInstance(cause)
      ? cause
      : new LlmoptError('LLMOPT_WRITE_FAILED', `${path} cannot be written: ${(cause as Error).message}.`, {
          where: { file: path },
          hint: 'Check the folder, the permissions and the free space.',
          cause,
        });
  let file: FileHandle;
  try {
    await mkdir(dirname(path), { recursive: true });
    file = await open(temporary, 'wx');
  } catch (cause) {
    throw failed(cause);
  }
  try {
    try {
      await fill(file);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw failed(cause);
  }
}
