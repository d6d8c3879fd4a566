import { isJsonObject, type JsonObject } from '../../checkpoint/json.ts';

/** A token that is found in a text before its words are looked at. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Takes the white space before it along. */
  readonly lstrip: boolean;
  /** Takes the white space behind it along. */
  readonly rstrip: boolean;
  /** As tokenizer.json has it, for the library. */
  readonly entry: JsonObject;
}

/** Tokens of a tokenizer.json, checked. */
export interface Tokens {
  /** Text by id, as the vocabulary writes it; ids without a token have none. */
  readonly texts: readonly (string | undefined)[];
  readonly idOf: ReadonlyMap<string, number>;
  readonly added: ReadonlyMap<string, AddedToken>;
}

// More than any vocabulary by far.
const mostTokens = 16_777_216;
const namedTokens = ['bos_token', 'eos_token', 'unk_token', 'pad_token', 'sep_token', 'cls_token', 'mask_token'];

const isId = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < mostTokens;

/** @throws Error with the reason */
export function readTokens(tokenizer: JsonObject, config: JsonObject): Tokens {
  const idOf = readVocabulary(tokenizer.model);
  const added = new Map<string, AddedToken>();
  const add = (entry: unknown, id: unknown) => {
    if (!isJsonObject(entry) || typeof entry.content !== 'string' || entry.content === '' || !isId(id)) {
      throw new Error(`the added token ${JSON.stringify(entry)?.slice(0, 200)} lacks an id or a text`);
    }
    const { content, special, lstrip, rstrip } = entry;
    const token = { id, content, special: special === true, lstrip: lstrip === true, rstrip: rstrip === true };
    added.set(content, { ...token, entry: { ...entry, id } });
    idOf.set(content, id);
  };
  const list = tokenizer.added_tokens ?? [];
  if (!Array.isArray(list)) throw new Error('its added tokens are no list');
  for (const entry of list) add(entry, entry?.id);
  const decoder = config.added_tokens_decoder ?? {};
  if (!isJsonObject(decoder)) throw new Error('added_tokens_decoder of tokenizer_config.json is no object');
  for (const [id, entry] of Object.entries(decoder)) {
    if (!added.has((entry as { content: string } | null)?.content ?? '')) add(entry, Number(id));
  }
  for (const content of specialNames(config)) {
    const known = added.get(content);
    if (known) added.set(content, { ...known, special: true });
    else if (idOf.has(content)) add({ content, special: true, normalized: false }, idOf.get(content));
  }
  const texts: (string | undefined)[] = [];
  for (const [text, id] of idOf) {
    if (texts[id] !== undefined)
      throw new Error(`the tokens ${JSON.stringify([texts[id], text])} have the same id ${id}`);
    texts[id] = text;
  }
  return { texts, idOf, added };
}

function readVocabulary(model: unknown): Map<string, number> {
  if (!isJsonObject(model)) throw new Error('it has no model');
  if (model.type !== 'BPE' && !(model.type === undefined && Array.isArray(model.merges))) {
    throw new Error(`its model is ${JSON.stringify(model.type)}; only BPE is supported`);
  }
  if (!isJsonObject(model.vocab)) throw new Error('its vocabulary is no object');
  const vocabulary = new Map<string, number>();
  for (const [token, id] of Object.entries(model.vocab)) {
    if (!isId(id)) throw new Error(`the token ${JSON.stringify(token)} has the id ${JSON.stringify(id)}`);
    vocabulary.set(token, id);
  }
  if (!Array.isArray(model.merges)) throw new Error('its merges are no list');
  for (const merge of model.merges) {
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const isSound =
      Array.isArray(parts) &&
      parts.length === 2 &&
      parts.every((part) => vocabulary.has(part)) &&
      vocabulary.has(parts.join(''));
    if (!isSound) throw new Error(`the merge ${JSON.stringify(merge)} has a part or a result that is no token`);
  }
  return vocabulary;
}

/** Texts that tokenizer_config.json calls special. */
function specialNames(config: JsonObject): string[] {
  const lists = [config.additional_special_tokens, config.extra_special_tokens].flatMap((list) =>
    isJsonObject(list) ? Object.values(list) : (list ?? []),
  );
  return [...namedTokens.map((name) => config[name]), ...lists].flatMap((value) => tokenText(value) ?? []);
}

/** A token is written as a text, or as an object with its properties. */
export function tokenText(value: unknown): string | undefined {
  const text = isJsonObject(value) ? value.content : value;
  return typeof text === 'string' && text !== '' ? text : undefined;
}
