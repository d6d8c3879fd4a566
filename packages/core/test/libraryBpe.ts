import { Tokenizer } from '@huggingface/tokenizers';

const isolated = (pattern: string) => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});

/** Byte-level BPE by a library, to compare with. */
export function libraryBpe(vocabulary: {
  tokens: readonly string[];
  /** Each as `left right`. */
  merges: readonly string[];
  words: readonly string[];
}): (text: string) => number[] {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false };
  const tokenizer = new Tokenizer(
    {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [...vocabulary.words.map(isolated), byteLevel] },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      model: {
        type: 'BPE',
        unk_token: null,
        ignore_merges: false,
        vocab: Object.fromEntries(vocabulary.tokens.map((token, id) => [token, id])),
        merges: vocabulary.merges.map((merge) => merge.split(' ')),
      },
    } as unknown as ConstructorParameters<typeof Tokenizer>[0],
    {} as ConstructorParameters<typeof Tokenizer>[1],
  );
  return (text) => (text === '' ? [] : tokenizer.encode(text, { add_special_tokens: false }).ids);
}
