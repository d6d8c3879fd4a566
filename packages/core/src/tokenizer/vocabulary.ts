import type { Checkpoint, MetadataValue } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';

/** The tokenizer's part of a checkpoint, checked. */
export interface Vocabulary {
  readonly file: string;
  readonly tokens: readonly string[];
  /** Per token: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  readonly types: readonly number[];
  readonly merges: readonly string[];
  readonly preTokenizer: string;
  readonly addBos: boolean;
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  readonly eotToken: number | undefined;
  readonly chatTemplate: string | undefined;
}

/** @throws LLMOPT_TOKENIZER_INVALID naming the field */
export function readVocabulary(checkpoint: Checkpoint): Vocabulary {
  const { metadata, path: file } = checkpoint;
  const fail = (field: string, message: string): never => {
    throw new LlmoptError('LLMOPT_TOKENIZER_INVALID', `${file}: ${field} ${message}.`, {
      where: { file, field },
      hint: 'The file is incomplete or made for a tokenizer that is not supported.',
    });
  };
  const field = (name: string) => `tokenizer.ggml.${name}`;
  function list<T extends string | number>(name: string, type: 'string' | 'number'): readonly T[] {
    const value = metadata.get(field(name));
    if (!Array.isArray(value) || value.some((item) => typeof item !== type))
      return fail(field(name), `is no list of ${type}s`);
    return value as readonly T[];
  }

  const model = metadata.get(field('model'));
  if (model !== 'gpt2') fail(field('model'), `is ${JSON.stringify(model)}; only byte-level BPE ("gpt2") is supported`);
  const tokens = list<string>('tokens', 'string');
  const ids = new Map(tokens.map((token, id) => [token, id]));
  if (tokens.length === 0) fail(field('tokens'), 'is empty');
  if (ids.size !== tokens.length) fail(field('tokens'), 'holds the same token twice');
  const types = metadata.has(field('token_type')) ? list<number>('token_type', 'number') : tokens.map(() => 1);
  if (types.some((type) => !Number.isInteger(type) || type < 0 || type > 6))
    fail(field('token_type'), 'holds a type that is not known');
  if (types.length !== tokens.length)
    fail(field('token_type'), `has ${types.length} entries for ${tokens.length} tokens`);
  const merges = list<string>('merges', 'string');
  for (const merge of merges) {
    const at = merge.indexOf(' ', 1);
    const [left, right] = [merge.slice(0, at), merge.slice(at + 1)];
    if (at < 0 || !ids.has(left) || !ids.has(right) || !ids.has(left + right)) {
      fail(field('merges'), `holds ${JSON.stringify(merge)}, whose parts or result are no tokens`);
    }
  }
  const id = (name: string): number | undefined => {
    const value: MetadataValue | undefined = metadata.get(field(name));
    if (value === undefined) return undefined;
    const inside = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < tokens.length;
    return inside ? value : fail(field(name), `is ${JSON.stringify(value)}, no id of this vocabulary`);
  };
  const flag = (name: string): boolean => {
    const value = metadata.get(field(name)) ?? false;
    return typeof value === 'boolean'
      ? value
      : fail(field(name), `is ${JSON.stringify(value)}, neither true nor false`);
  };
  const text = (name: string): string | undefined => {
    const value = metadata.get(name);
    return value === undefined || typeof value === 'string' ? value : fail(name, 'is no text');
  };
  return {
    file,
    tokens,
    types,
    merges,
    preTokenizer: text(field('pre')) ?? fail(field('pre'), 'is missing'),
    addBos: flag('add_bos_token'),
    bosToken: id('bos_token_id'),
    eosToken: id('eos_token_id'),
    eotToken: id('eot_token_id'),
    chatTemplate: text('tokenizer.chat_template'),
  };
}

/** Control and user-defined tokens: never made from plain text. */
export const isSpecial = (type: number) => type === 3 || type === 4;
