import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { convertGguf, defaultCacheFolder, openGguf, type WriteOptions } from '@llmopt/core';

/** Raised when what is written changes. */
const layoutVersion = 1;

export interface CopyOptions extends WriteOptions {
  /** Default: the user's cache folder. */
  cacheDir?: string;
}

/**
 * A copy of a GGUF file with its matrices as Q8_0, in the folder of downloaded models, under a name made from the
 * content of its source; written if it is not there. Its size is that of 8.5 bits per weight.
 * @returns the path of the copy
 * @throws what opening a file throws, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function quantizedCopy(source: string, options: CopyOptions = {}): Promise<string> {
  const { cacheDir = defaultCacheFolder(), ...writeOptions } = options;
  const checkpoint = await openGguf(source, { cacheDir });
  try {
    const path = join(cacheDir, 'models', `${await checkpoint.checksum()}.Q8_0-${layoutVersion}.gguf`);
    // It got its name when it was complete.
    const isThere = await stat(path).then(
      (stats) => stats.isFile(),
      () => false,
    );
    if (!isThere) await convertGguf(checkpoint, path, 'Q8_0', writeOptions);
    return path;
  } finally {
    await checkpoint.close();
  }
}
