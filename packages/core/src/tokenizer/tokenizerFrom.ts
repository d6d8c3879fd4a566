import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { tokenizerFromGguf } from './fromGguf.ts';
import type { Tokenizer } from './tokenizer.ts';

/**
 * The tokenizer of a checkpoint: from the metadata of a GGUF file, or from the files beside safetensors.
 * @throws LLMOPT_TOKENIZER_INVALID, LLMOPT_JSON_INVALID, LLMOPT_METADATA_INVALID
 */
export async function tokenizerFrom(checkpoint: Checkpoint): Promise<Tokenizer> {
  if (checkpoint.format === 'gguf') return tokenizerFromGguf(checkpoint);
  // With a library that GGUF files do not need.
  const { tokenizerFromFolder } = await import('./fromFolder/index.ts');
  return tokenizerFromFolder(checkpoint);
}
