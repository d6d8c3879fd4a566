import type { Checkpoint, MetadataValue } from '../checkpoint/checkpoint.ts';
import { packedNumbers, packedStrings } from '../checkpoint/metadata.ts';
import { LlmoptError } from '../errors.ts';
import type { BpeVocabulary } from './bpe/index.ts';
import { knownPreTokenizers, wordPatterns } from './bpe/words.ts';

/** What a byte-level BPE tokenizer is made of, wherever it comes from. */
export interface Vocabulary extends BpeVocabulary {
  /** The file it comes from, for messages. */
  readonly file: string;
  /** Ids of control and user-defined tokens, ascending: never made from plain text. */
  readonly special: readonly number[];
  readonly addBos: boolean;
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  readonly eotToken: number | undefined;
  readonly chatTemplate: string | undefined;
}

/** An error that names the file and the field or list. */
export function invalidVocabulary(file: string, field: string, problem: string, hint?: string): LlmoptError {
  return new LlmoptError('LLMOPT_TOKENIZER_INVALID', `${file}: ${field} ${problem}.`, {
    where: { file, field },
    hint: hint ?? 'The file is incomplete or made for a tokenizer that is not supported.',
  });
}

const field = (name: string) => `tokenizer.ggml.${name}`;

/** The tokenizer's part of a GGUF file. @throws LLMOPT_TOKENIZER_INVALID naming the field */
export function readVocabulary(checkpoint: Checkpoint): Vocabulary {
  const { metadata, path: file } = checkpoint;
  const fail = (name: string, problem: string, hint?: string): never => {
    throw invalidVocabulary(file, name, problem, hint);
  };
  const strings = (name: string) => packedStrings(metadata, field(name)) ?? fail(field(name), 'is no list of strings');

  const model = metadata.get(field('model'));
  if (model !== 'gpt2') fail(field('model'), `is ${JSON.stringify(model)}; only byte-level BPE ("gpt2") is supported`);
  const tokens = strings('tokens');
  if (tokens.length === 0) fail(field('tokens'), 'is empty');
  const special = readSpecial();
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
  const preTokenizer = text(field('pre')) ?? fail(field('pre'), 'is missing');
  return {
    file,
    tokens,
    special,
    merges: strings('merges'),
    words:
      wordPatterns(preTokenizer) ??
      fail(field('pre'), `is "${preTokenizer}", which is not known`, `Known: ${knownPreTokenizers.join(', ')}.`),
    addBos: flag('add_bos_token'),
    bosToken: id('bos_token_id'),
    eosToken: id('eos_token_id'),
    eotToken: id('eot_token_id'),
    chatTemplate: text('tokenizer.chat_template'),
  };

  /** Types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. */
  function readSpecial(): number[] {
    if (!metadata.has(field('token_type'))) return [];
    const list = packedNumbers(metadata, field('token_type')) ?? fail(field('token_type'), 'is no list of numbers');
    if (list.length !== tokens.length)
      fail(field('token_type'), `has ${list.length} entries for ${tokens.length} tokens`);
    const types = list instanceof Int32Array ? list : Float64Array.from(list);
    // Sorting and searching are V8's own loops, which are fast from the start.
    const sorted = types.toSorted();
    if (!(sorted[0]! >= 0 && sorted.at(-1)! <= 6) || (types !== list && !types.every(Number.isInteger)))
      fail(field('token_type'), 'holds a type that is not known');
    const special: number[] = [];
    for (const type of [3, 4])
      for (let at = types.indexOf(type); at >= 0; at = types.indexOf(type, at + 1)) special.push(at);
    return special.sort((a, b) => a - b);
  }
}
