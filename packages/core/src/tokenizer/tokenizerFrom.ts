import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { tokenizerFromFolder } from './fromFolder/index.ts';
import { tokenizerFromGguf } from './fromGguf.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * The tokenizer of a checkpoint: from the metadata of a GGUF file, or from the files beside safetensors.
 * @throws LLMOPT_TOKENIZER_INVALID, LLMOPT_JSON_INVALID, LLMOPT_METADATA_INVALID
 */
export async function tokenizerFrom(checkpoint: Checkpoint): Promise<Tokenizer> {
  return checkpoint.format === 'gguf' ? tokenizerFromGguf(checkpoint) : tokenizerFromFolder(checkpoint);
}
