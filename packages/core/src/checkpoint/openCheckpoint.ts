import { stat } from 'node:fs/promises';
import type { Checkpoint } from './checkpoint.ts';
import { openGguf } from './gguf/open.ts';
import { openModelFolder } from './modelFolder.ts';

export interface OpenCheckpointOptions {
  /** Where checksums are remembered. Default: the user's cache folder; `false` remembers nothing. */
  cacheDir?: string | false;
}

/**
 * Opens a model on disk: a GGUF file, or a folder with `config.json` and safetensors (also by the name of its `.safetensors`
 * file or of its index).
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_GGUF_INVALID, LLMOPT_GGUF_UNSUPPORTED, LLMOPT_METADATA_MISSING, LLMOPT_JSON_INVALID,
 * LLMOPT_SAFETENSORS_INVALID, LLMOPT_SAFETENSORS_UNSUPPORTED
 */
export async function openCheckpoint(path: string, options: OpenCheckpointOptions = {}): Promise<Checkpoint> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  return isFolder || /\.safetensors(\.index\.json)?$/.test(path)
    ? openModelFolder(path, options)
    : openGguf(path, options);
}
