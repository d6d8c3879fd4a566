import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buildGraph, defaultCacheFolder, openCheckpoint } from '@llmopt/core';
import { type ExportOnnxOptions, exportOnnxFolder } from '@llmopt/core/onnx';

/** Raised when what is written changes. */
const layoutVersion = 1;

export interface OnnxFolderOptions extends Pick<ExportOnnxOptions, 'signal' | 'onProgress'> {
  /** Default: the user's cache folder. */
  cacheDir?: string;
}

/**
 * A folder with a model as ONNX in float32, as transformers.js loads it, beside downloaded models, under a name made from the
 * content of its source; written if it is not there. It takes 4 bytes per weight.
 * @returns the path of the folder
 * @throws what opening a model throws, and what `exportOnnxFolder` throws
 */
export async function onnxFolder(source: string, options: OnnxFolderOptions = {}): Promise<string> {
  const { cacheDir = defaultCacheFolder(), ...writeOptions } = options;
  const checkpoint = await openCheckpoint(source, { cacheDir });
  try {
    const folder = join(cacheDir, 'models', `${await checkpoint.checksum()}.onnx-${layoutVersion}`);
    // It got its name when it was complete.
    const isThere = await stat(folder).then(
      (stats) => stats.isDirectory(),
      () => false,
    );
    if (!isThere) await exportOnnxFolder(checkpoint, buildGraph(checkpoint), folder, writeOptions);
    return folder;
  } finally {
    await checkpoint.close();
  }
}
