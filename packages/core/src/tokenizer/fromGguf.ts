import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { createTokenizer } from './createTokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';
import { readVocabulary } from './vocabulary.ts';

/**
 * The tokenizer that a GGUF file describes in its metadata.
 * @throws LLMOPT_TOKENIZER_INVALID
 */
export function tokenizerFromGguf(checkpoint: Checkpoint): Tokenizer {
  return createTokenizer(readVocabulary(checkpoint));
}
