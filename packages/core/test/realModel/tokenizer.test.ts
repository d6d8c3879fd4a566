import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts';
import { openGguf } from '../../src/checkpoint/index.ts';
import { type ChatMessage, type Tokenizer, tokenizerFromGguf } from '../../src/tokenizer/index.ts';
import { readVocabulary } from '../../src/tokenizer/vocabulary.ts';
import { libraryBpe } from '../libraryBpe.ts';
import { realModelPath } from './model.ts';

const fixture = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')) as T;

let checkpoint: Checkpoint;
let tokenizer: Tokenizer;
beforeAll(async () => {
  checkpoint = await openGguf(await realModelPath());
  tokenizer = tokenizerFromGguf(checkpoint);
});
afterAll(() => checkpoint.close());

it("gives llama.cpp's ids for 1,000 varied strings", () => {
  const { strings } = fixture<{ strings: { text: string; ids: number[] }[] }>('token-ids.json');
  expect(strings).toHaveLength(1000);
  const different = strings.filter(({ text, ids }) => JSON.stringify(tokenizer.encode(text)) !== JSON.stringify(ids));
  expect(different).toEqual([]);
});

it('gives back every string whose bytes have a token', () => {
  const { strings } = fixture<{ strings: { text: string }[] }>('token-ids.json');
  const lost = strings.filter(({ text }) => tokenizer.decode(tokenizer.encode(text)) !== text);
  // The vocabulary has no tokens for some control characters, nor for the lead bytes of the planes from U+40000 on.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters in question
  expect(lost.filter(({ text }) => !/[\x04\x06\x13\x14\x16\x1d\u{40000}-\u{bffff}]/u.test(text))).toEqual([]);
});

it("writes a chat as transformers' template does", () => {
  const { cases } = fixture<{
    cases: { messages: ChatMessage[]; addGenerationPrompt: boolean; text: string; ids: number[] }[];
  }>('chat.json');
  expect(cases.length).toBeGreaterThanOrEqual(4);
  for (const { messages, addGenerationPrompt, text, ids } of cases) {
    expect(tokenizer.renderChat(messages, { addGenerationPrompt })).toBe(text);
    expect(tokenizer.encodeChat(messages, { addGenerationPrompt })).toEqual(ids);
  }
});

it('gives the ids of a library for any text', () => {
  const list = (name: string) => checkpoint.metadata.get(`tokenizer.ggml.${name}`) as string[];
  const tokens = list('tokens');
  const library = libraryBpe({ tokens, merges: list('merges'), words: readVocabulary(checkpoint).words });
  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.string({ unit: 'binary-ascii', maxLength: 30 }),
    fc.nat(tokens.length - 1).map((id) => tokenizer.decode([id])),
    fc.constantFrom(' ', '\n', 'a'.repeat(50), ' the', '1234', 'ſ', 'İ'),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join('').toWellFormed();
      expect(tokenizer.encode(text)).toEqual(library(text));
    }),
    { numRuns: 1000 },
  );
});
