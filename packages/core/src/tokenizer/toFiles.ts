import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { stringAt, unpackStrings } from '../strings/stringList.ts';
import { createTokenizer } from './createTokenizer.ts';
import { readVocabulary, type Vocabulary } from './vocabulary.ts';

/**
 * What transformers would keep of a GGUF file's tokenizer: files by name, as they are before they become JSON.
 * @throws LLMOPT_TOKENIZER_INVALID
 */
export function tokenizerFiles(checkpoint: Checkpoint): Readonly<Record<string, object>> {
  const vocabulary = readVocabulary(checkpoint);
  const { tokens, special, addBos, bosToken, eosToken, chatTemplate } = vocabulary;
  const added = special.map((id) => ({ id, content: stringAt(tokens, id) })).filter(({ content }) => content !== '');
  const named = (id: number | undefined) => (id === undefined ? null : stringAt(tokens, id));
  const bos = named(bosToken);
  return {
    'tokenizer.json': {
      ...bpeFile(vocabulary),
      added_tokens: added.map(({ id, content }) => ({
        ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
      })),
      post_processor: addBos && bos !== null ? beginning(bos, bosToken!) : null,
    },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      clean_up_tokenization_spaces: false,
      add_bos_token: addBos,
      bos_token: bos,
      eos_token: named(eosToken),
      ...(chatTemplate === undefined ? {} : { chat_template: chatTemplate }),
    },
    'generation_config.json': {
      ...(bosToken === undefined ? {} : { bos_token_id: bosToken }),
      eos_token_id: [...createTokenizer(vocabulary).stopTokens],
    },
  };
}

/** Byte-level BPE in the words of a `tokenizer.json`. */
function bpeFile({ tokens, merges, words }: Vocabulary) {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...words.map((Regex) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false })),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(unpackStrings(tokens).map((token, id) => [token, id])),
      merges: unpackStrings(merges).map((merge) => merge.split(' ')),
    },
  };
}

/** Puts a token in front of every text. */
function beginning(token: string, id: number) {
  const special = { SpecialToken: { id: token, type_id: 0 } };
  const text = { Sequence: { id: 'A', type_id: 0 } };
  return {
    type: 'TemplateProcessing',
    single: [special, text],
    pair: [special, text, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  };
}
