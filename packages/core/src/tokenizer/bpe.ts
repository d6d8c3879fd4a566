import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { LlmoptError } from '../errors.ts';
import type { Vocabulary } from './vocabulary.ts';

// The one file that knows @huggingface/tokenizers.

const isolated = (pattern: string) => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});

const gpt2Words =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

const qwen2Words =
  "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*|\\p{White_Space}*[\\r\\n]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

/** Word splitting by the names that GGUF files use; `White_Space`, since JavaScript's \s differs from it. */
const preTokenizers: Readonly<Record<string, readonly object[]>> = {
  'gpt-2': [isolated(gpt2Words)],
  smollm: [isolated('\\p{N}'), isolated(gpt2Words)],
  qwen2: [isolated(qwen2Words)],
};

export const knownPreTokenizers = Object.keys(preTokenizers);

/**
 * Byte-level BPE over plain text: no token is special. Text is cut in words first, so long texts cost time in proportion.
 * @throws LLMOPT_TOKENIZER_INVALID for an unknown pre-tokenizer
 */
export function createBpe({ tokens, merges, preTokenizer, file }: Vocabulary): (text: string) => number[] {
  const words = Object.hasOwn(preTokenizers, preTokenizer) ? preTokenizers[preTokenizer] : undefined;
  if (!words) {
    throw new LlmoptError(
      'LLMOPT_TOKENIZER_INVALID',
      `${file} wants the pre-tokenizer "${preTokenizer}", which is not known.`,
      {
        where: { file, field: 'tokenizer.ggml.pre' },
        hint: `Known: ${knownPreTokenizers.join(', ')}.`,
      },
    );
  }
  const tokenizer = new HfTokenizer(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [...words, { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }],
      },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: merges.map((merge) => merge.split(' ')),
      },
    } as unknown as ConstructorParameters<typeof HfTokenizer>[0],
    {} as ConstructorParameters<typeof HfTokenizer>[1],
  );
  return (text) => (text === '' ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids);
}
