import { randomUUID } from 'node:crypto';
import { Tokenizer as HfTokenizer } from '@huggingface/tokenizers';
import { isJsonObject, type JsonObject } from '../../checkpoint/json.ts';
import type { Tokens } from './vocabulary.ts';

/** Turns text in which nothing is special into ids. */
export interface PlainEncoder {
  /** `atStart`: the text begins here, nothing stands before it. Some tokenizers put a space in front of a text. */
  encode(text: string, atStart: boolean): number[];
  /** What the post-processor puts around a text; `add_bos_token` and its like do not count where there is a tokenizer.json. */
  readonly around: { readonly before: readonly number[]; readonly after: readonly number[] };
}

// White_Space, since JavaScript's \s differs from it.
const byteLevelWords = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * The tokenizer of a tokenizer.json without its special tokens, so that no text becomes one.
 * @throws Error with the reason, whatever the library finds wrong
 */
export function createPlainEncoder(tokenizer: JsonObject, { idOf, added, texts }: Tokens): PlainEncoder {
  const model = tokenizer.model as JsonObject;
  checkNormalizer(tokenizer.normalizer);
  const special = [...added.values()].filter((token) => token.special);
  const vocabulary = { ...(model.vocab as Record<string, number>) };
  for (const { content } of special) if (content !== model.unk_token) delete vocabulary[content];
  // A piece that stands for what comes before a text, where the tokenizer treats the start of a text in its own way.
  const before = { id: texts.length, content: `\u{f8ff}${randomUUID()}`, special: true, normalized: false };
  const plain = new HfTokenizer(
    {
      ...tokenizer,
      model: { ...model, type: 'BPE', vocab: vocabulary },
      added_tokens: [...added.values()]
        .filter((token) => !token.special)
        .map(({ entry }) => entry)
        .concat(before),
      normalizer: tokenizer.normalizer ?? null,
      pre_tokenizer: preTokenizer(tokenizer.pre_tokenizer ?? null),
      // Not needed to encode.
      decoder: null,
      post_processor: null,
    },
    {},
  );
  const encode = (text: string) =>
    plain.encode(text, { add_special_tokens: false }).ids.filter((id: number | undefined) => id !== undefined);
  return {
    encode: (text, atStart) => (text === '' ? [] : atStart ? encode(text) : encode(before.content + text).slice(1)),
    around: aroundText(tokenizer.post_processor ?? null, idOf),
  };
}

/** What the library would take for something else, and say nothing. */
function checkPattern({ type, pattern, behavior, invert }: JsonObject): void {
  const { String: text, Regex: regex } = isJsonObject(pattern) ? pattern : {};
  if (typeof (text ?? regex) !== 'string') throw new Error(`a ${type} has no pattern`);
  if (type === 'Split' && behavior !== 'Removed' && (behavior !== 'Isolated' || invert === true)) {
    throw new Error(`its splitting (${JSON.stringify({ behavior, invert })}) is not supported`);
  }
}

function checkNormalizer(config: unknown): void {
  if (!isJsonObject(config)) return;
  if (config.type === 'Replace') checkPattern(config);
  if (config.type === 'Sequence' && Array.isArray(config.normalizers)) config.normalizers.forEach(checkNormalizer);
}

/** Byte-level splitting by the pattern of the format instead of the library's; the others as they are. */
function preTokenizer(config: unknown): unknown {
  if (!isJsonObject(config)) return config;
  if (config.type === 'Split' || config.type === 'Replace') checkPattern(config);
  if (config.type === 'Sequence' && Array.isArray(config.pretokenizers)) {
    return { ...config, pretokenizers: config.pretokenizers.flatMap(preTokenizer) };
  }
  if (config.type !== 'ByteLevel' || config.use_regex === false || config.add_prefix_space !== false) return config;
  const split = { type: 'Split', pattern: { Regex: byteLevelWords }, behavior: 'Isolated', invert: false };
  return { type: 'Sequence', pretokenizers: [split, { ...config, use_regex: false }] };
}

/** Lets the post-processor work on a text of one made-up token, and takes what stands around it. */
function aroundText(config: unknown, idOf: ReadonlyMap<string, number>): PlainEncoder['around'] {
  const text = 'text';
  const processor = new HfTokenizer(
    {
      model: { type: 'BPE', vocab: { [text]: 0 }, merges: [], ignore_merges: true },
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      decoder: null,
      post_processor: config,
    },
    {},
  );
  const tokens = processor.encode(text).tokens;
  const at = tokens.indexOf(text);
  const ids = (list: string[]) =>
    list.map((token) => {
      const id = idOf.get(token);
      if (id === undefined) throw new Error(`its post-processor adds ${JSON.stringify(token)}, which is no token`);
      return id;
    });
  if (at < 0) throw new Error('its post-processor loses the text');
  return { before: ids(tokens.slice(0, at)), after: ids(tokens.slice(at + 1)) };
}
