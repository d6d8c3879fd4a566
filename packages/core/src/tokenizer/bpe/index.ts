import { LlmoptError } from '../../errors.ts';
import type { StringList } from '../../strings/stringList.ts';
import { stringAt } from '../../strings/stringList.ts';
import { wasmBase64 } from './bpe.generated.ts';
import { cutWords } from './words.ts';

/** What a byte-level BPE is made of. */
export interface BpeVocabulary {
  /** By id, in the symbols that stand for bytes; no text twice. */
  readonly tokens: StringList;
  /** By rank, each as `left right`: two tokens that together are a third. */
  readonly merges: StringList;
  /**
   * How texts are cut in words: each pattern, the source of a regular expression with the flags g and u, cuts what the one before left whole,
   * in its matches and what lies between them.
   */
  readonly words: readonly string[];
}

/** What is wrong with a vocabulary: in which of its lists, and how. */
export type BpeProblem = (list: 'tokens' | 'merges', problem: string) => Error;

/**
 * Byte-level BPE over plain text: no token is special, and a byte that has no token is left out. The tables lie in a WebAssembly memory of
 * about 20 bytes per merge. Texts and words cost time in proportion to their length, or nearly so.
 * @throws what `invalid` makes of a vocabulary that contradicts itself; LLMOPT_OUT_OF_MEMORY
 */
export function createBpe(vocabulary: BpeVocabulary, invalid: BpeProblem): (text: string) => number[] {
  const coder = createCoder(vocabulary);
  addTokens(coder, vocabulary.tokens, invalid);
  addMerges(coder, vocabulary.merges, invalid);
  const patterns = vocabulary.words.map((pattern) => new RegExp(pattern, 'gu'));
  return (text) => {
    const ids: number[] = [];
    cutWords(text, patterns, (word) => {
      const most = word.length * 3;
      if (most <= LONG_WORD_BYTES) encodeWord(coder, word, most, ids);
      // Memory never shrinks: a long word gets one of its own.
      else encodeWord(copyOf(coder, vocabulary), word, Buffer.byteLength(word), ids);
    });
    return ids;
  };
}

const LONG_WORD_BYTES = 64 * 1024;
const MERGES_AT_ONCE = 8192;

interface Coder {
  readonly memory: WebAssembly.Memory;
  readonly seed: number;
  /** Where the vocabulary's text was put. */
  readonly tokenEnds: number;
  readonly code: {
    prepare(tokens: number, bytes: number, merges: number, seed: number): number;
    indexTokens(): number;
    indexMerges(): void;
    mergeRoom(bytes: number): number;
    addMerges(ends: number, bytes: number, base: number, count: number): number;
    wordRoom(bytes: number): number;
    tokensAt(): number;
    encode(bytes: number): number;
  };
}

let compiled: WebAssembly.Module | undefined;

// The tables are open to whoever made the file: the seed keeps them from choosing texts that collide.
function createCoder({ tokens, merges }: BpeVocabulary, seed = Math.floor(Math.random() * 2 ** 32)): Coder {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  compiled ??= new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
  const code = new WebAssembly.Instance(compiled, { env: { memory } }).exports as unknown as Coder['code'];
  const tokenEnds = room(code.prepare(tokens.length, tokens.bytes.length, merges.length, seed), 'a vocabulary');
  return { memory, seed, tokenEnds, code };
}

function copyOf(coder: Coder, vocabulary: BpeVocabulary): Coder {
  const copy = createCoder(vocabulary, coder.seed);
  const tables = (memory: WebAssembly.Memory) => new Uint8Array(memory.buffer, 0, coder.tokenEnds);
  tables(copy.memory).set(tables(coder.memory));
  return copy;
}

function addTokens({ memory, tokenEnds, code }: Coder, tokens: StringList, invalid: BpeProblem): void {
  new Uint32Array(memory.buffer, tokenEnds, tokens.length).set(tokens.ends);
  new Uint8Array(memory.buffer, tokenEnds + tokens.length * 4, tokens.bytes.length).set(tokens.bytes);
  const twice = code.indexTokens();
  if (twice >= 0) throw invalid('tokens', `holds ${JSON.stringify(stringAt(tokens, twice))} twice`);
}

function addMerges({ memory, code }: Coder, merges: StringList, invalid: BpeProblem): void {
  for (let first = 0; first < merges.length; first += MERGES_AT_ONCE) {
    const begin = first === 0 ? 0 : merges.ends[first - 1]!;
    const ends = merges.ends.subarray(first, first + MERGES_AT_ONCE);
    const bytes = merges.bytes.subarray(begin, ends.at(-1));
    const at = room(code.mergeRoom(ends.byteLength + bytes.length), 'the merges of a vocabulary');
    new Uint32Array(memory.buffer, at, ends.length).set(ends);
    new Uint8Array(memory.buffer, at + ends.byteLength, bytes.length).set(bytes);
    const wrong = code.addMerges(at, at + ends.byteLength, begin, ends.length);
    if (wrong >= 0) {
      const merge = JSON.stringify(stringAt(merges, first + wrong));
      throw invalid('merges', `holds ${merge}, whose parts or result are no tokens`);
    }
  }
  code.indexMerges();
}

const encoder = new TextEncoder();

function encodeWord({ memory, code }: Coder, word: string, most: number, ids: number[]): void {
  const at = room(code.wordRoom(most), 'a word');
  const { written } = encoder.encodeInto(word, new Uint8Array(memory.buffer, at, most));
  const count = code.encode(written);
  for (const id of new Int32Array(memory.buffer, code.tokensAt(), count)) ids.push(id);
}

function room(address: number, what: string): number {
  if (address !== 0) return address >>> 0;
  throw new LlmoptError('LLMOPT_OUT_OF_MEMORY', `A WebAssembly memory cannot hold ${what} of this size.`, {
    hint: 'Use a smaller model, or shorter texts.',
  });
}
