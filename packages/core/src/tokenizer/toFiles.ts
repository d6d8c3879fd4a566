import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { bpeFile } from './bpe.ts';
import { stopTokensOf } from './fromGguf.ts';
import { isSpecial, readVocabulary } from './vocabulary.ts';

/**
 * What transformers would keep of a GGUF file's tokenizer: files by name, as they are before they become JSON.
 * @throws LLMOPT_TOKENIZER_INVALID
 */
export function tokenizerFiles(checkpoint: Checkpoint): Readonly<Record<string, object>> {
  const vocabulary = readVocabulary(checkpoint);
  const { tokens, types, addBos, bosToken, eosToken, chatTemplate } = vocabulary;
  const added = tokens.flatMap((content, id) =>
    isSpecial(types[id]!) && content !== ''
      ? [{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: types[id] === 3 }]
      : [],
  );
  const named = (id: number | undefined) => (id === undefined ? null : tokens[id]!);
  const bos = named(bosToken);
  return {
    'tokenizer.json': {
      ...bpeFile(vocabulary),
      added_tokens: added,
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
      eos_token_id: [...stopTokensOf(vocabulary)],
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
