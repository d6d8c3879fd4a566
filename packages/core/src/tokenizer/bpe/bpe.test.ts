import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { libraryBpe } from '../../../test/libraryBpe.ts';
import { byteSymbols, tinyMerges } from '../../../test/tinyModel.ts';
import { packStrings } from '../../strings/stringList.ts';
import { createBpe } from './index.ts';
import { wordPatterns } from './words.ts';

const invalid = (list: string, problem: string) => new Error(`${list}: ${problem}`);
const bpe = (tokens: readonly string[], merges: readonly string[], words: readonly string[] = []) =>
  createBpe({ tokens: packStrings(tokens), merges: packStrings(merges), words }, invalid);

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({
    unit: fc.constantFrom('a', 'b', ' ', 'the', ' and', '\n', '7', 'é', '字', '👩‍👩‍👧', "'ll"),
    maxLength: 60,
  }),
);

describe('against a library', () => {
  it.each(['gpt-2', 'smollm'])('gives the same ids with the words of %s', (name) => {
    const tokens = [...byteSymbols(), ...tinyMerges.map((merge) => merge.replace(' ', ''))];
    const words = wordPatterns(name)!;
    const ours = bpe(tokens, tinyMerges, words);
    const library = libraryBpe({ tokens, merges: tinyMerges, words });
    fc.assert(
      fc.property(text, (input) => {
        expect(ours(input.toWellFormed())).toEqual(library(input.toWellFormed()));
      }),
      { numRuns: 1000 },
    );
  });

  it('gives the same ids whatever the merges, where they overlap, repeat and lead nowhere', () => {
    // Merges of what there is so far; not every byte has a token.
    const vocabulary = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat()), { maxLength: 30 }).map((choices) => {
      const tokens = ['a', 'b', 'c'];
      const merges: string[] = [];
      for (const [left, right, again] of choices) {
        const pair = [tokens[left % tokens.length]!, tokens[right % tokens.length]!];
        merges.push(again % 5 === 0 && merges.length > 0 ? merges[again % merges.length]! : pair.join(' '));
        if (!tokens.includes(pair.join(''))) tokens.push(pair.join(''));
      }
      return { tokens, merges, words: [] };
    });
    const words = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'd', '字'), maxLength: 50 });
    fc.assert(
      fc.property(vocabulary, fc.array(words, { minLength: 1, maxLength: 5 }), (made, inputs) => {
        const ours = bpe(made.tokens, made.merges);
        const library = libraryBpe(made);
        for (const input of inputs) expect(ours(input)).toEqual(library(input));
      }),
      { numRuns: 500 },
    );
  });
});

it('leaves out bytes without a token', () => {
  expect(bpe(['a', 'b'], [])('a字b')).toEqual([0, 1]);
});

it('encodes words of any length, longer ones with the same tables', () => {
  const tokens = ['a', 'aa', 'aaaa', 'b'];
  const encode = bpe(tokens, ['a a', 'aa aa']);
  for (const length of [0, 1, 2, 3, 7, 21_845, 21_846, 300_003]) {
    const ids = encode('a'.repeat(length));
    expect(ids.map((id) => tokens[id]).join('')).toHaveLength(length);
    expect(ids).toHaveLength(Math.floor(length / 4) + [0, 1, 1, 2][length % 4]!);
  }
  expect(encode('ab')).toEqual([0, 3]);
});

it.each([
  ['the same token twice', ['a', 'b', 'a'], [], 'tokens: holds "a" twice'],
  ['the empty token twice', ['', 'a', ''], [], 'tokens: holds "" twice'],
  ['a merge without parts', ['a'], ['a'], 'merges: holds "a", whose parts or result are no tokens'],
  ['an empty merge', ['a'], [''], 'merges: holds ""'],
  ['a merge of nothing', ['a', 'b'], ['a b'], 'merges: holds "a b"'],
  ['a merge of no token', ['a', 'ab'], ['a b'], 'merges: holds "a b"'],
])('refuses %s', (_, tokens, merges, message) => {
  expect(() => bpe(tokens, merges)).toThrow(message);
});

it('names the merge that is wrong among many', () => {
  const symbols = byteSymbols();
  const pairs = symbols.flatMap((left) => symbols.map((right) => `${left} ${right}`));
  const tokens = [...symbols, ...pairs.map((pair) => pair.replace(' ', ''))];
  expect(bpe(tokens, pairs)('ab')).toHaveLength(1);
  expect(() => bpe(tokens, [...pairs, 'ab cd'])).toThrow('holds "ab cd"');
});
