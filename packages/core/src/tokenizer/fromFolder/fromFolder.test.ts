import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../checkpoint/checkpoint.ts';
import { LlmoptError } from '../../errors.ts';
import type { ChatMessage, Tokenizer } from '../tokenizer.ts';
import { tokenizerFrom } from '../tokenizerFrom.ts';

interface Golden {
  texts: string[];
  chats: ChatMessage[][];
  kinds: Record<
    string,
    {
      before: number[];
      after: number[];
      cases: { plain: number[]; special?: number[]; decoded: string }[];
      chats: { text: string; ids: number[] }[];
    }
  >;
}

const fixtures = fileURLToPath(new URL('../../../test/fixtures/tokenizers/', import.meta.url));
const golden = JSON.parse(await readFile(join(fixtures, 'golden.json'), 'utf8')) as Golden;
const kinds = Object.keys(golden.kinds);

const root = await mkdtemp(join(tmpdir(), 'llmopt-tokenizer-folder-'));
afterAll(() => rm(root, { recursive: true, force: true }));

/** As much of a checkpoint as a tokenizer asks for. */
const open = (path: string, metadata: Record<string, number | number[]> = {}): Promise<Tokenizer> =>
  tokenizerFrom({ format: 'safetensors', path, metadata: new Map(Object.entries(metadata)) } as unknown as Checkpoint);

describe.each(kinds)('the tokenizer of %s', (kind) => {
  const { before, after, cases } = golden.kinds[kind]!;

  it('gives the ids that transformers gives, special tokens read as text or not', async () => {
    const tokenizer = await open(join(fixtures, kind));
    for (const [index, { plain, special = plain }] of cases.entries()) {
      const text = golden.texts[index]!;
      expect(tokenizer.encode(text, { addBos: false }), JSON.stringify(text)).toEqual(plain);
      expect(tokenizer.encode(text, { addBos: false, special: true }), JSON.stringify(text)).toEqual(special);
      expect(tokenizer.encode(text)).toEqual([...before, ...plain, ...after]);
    }
  });

  it('decodes as transformers does, at once and piece by piece', async () => {
    const tokenizer = await open(join(fixtures, kind));
    for (const { plain, decoded } of cases) {
      expect(tokenizer.decode(plain)).toBe(decoded);
      const stream = tokenizer.streamDecoder();
      expect(plain.map((id) => stream.push(id)).join('') + stream.end()).toBe(decoded);
    }
  });

  it('decodes what it encoded', async () => {
    const tokenizer = await open(join(fixtures, kind));
    // The normalizer of Qwen composes characters.
    const normal = (text: string) => (kind === 'qwen' ? text.normalize('NFC') : text);
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
        // The sign for the space is a space to SentencePiece.
        fc.pre(text.isWellFormed() && !text.includes('\u2581'));
        expect(tokenizer.decode(tokenizer.encode(text, { addBos: false }))).toBe(normal(text));
      }),
      { numRuns: 300 },
    );
  });
});

describe('encodeChat', () => {
  const withTemplate = kinds.filter((kind) => golden.kinds[kind]!.chats.length > 0);
  it.each(withTemplate)(
    'writes chats as transformers does, but no special token out of a message, %s',
    async (kind) => {
      const { chats } = golden.kinds[kind]!;
      const tokenizer = await open(join(fixtures, kind));
      expect(tokenizer.renderChat(golden.chats[0]!)).toBe(chats[0]!.text);
      expect(tokenizer.encodeChat(golden.chats[0]!)).toEqual(chats[0]!.ids);
      expect(tokenizer.renderChat(golden.chats[1]!)).toBe(chats[1]!.text);
      const ids = tokenizer.encodeChat(golden.chats[1]!);
      const specials = (list: number[]) => list.filter((id) => tokenizer.bytes(id).length === 0);
      expect(specials(ids).length).toBeLessThan(specials(chats[1]!.ids).length);
      expect(tokenizer.decode(ids, { special: true }).replaceAll(' ', '')).toBe(chats[1]!.text.replaceAll(' ', ''));
    },
  );
});

describe('tokenizerFrom, files', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(root, 'case-'));
    await cp(join(fixtures, 'qwen'), folder, { recursive: true });
  });
  const json = async (name: string) => JSON.parse(await readFile(join(folder, name), 'utf8'));
  const write = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));

  it('knows its own tokens, and has no text for rows of the embedding that stand for none', async () => {
    const { added_tokens } = await json('tokenizer.json');
    const ids = new Map<string, number>(
      added_tokens.map(({ content, id }: { content: string; id: number }) => [content, id]),
    );
    const tokenizer = await open(folder, { vocab_size: 512 });
    expect(tokenizer.vocabularySize).toBe(512);
    expect(tokenizer.bosToken).toBeUndefined();
    expect(tokenizer.eosToken).toBe(ids.get('<|im_end|>'));
    expect(tokenizer.bytes(511)).toHaveLength(0);
    expect(tokenizer.decode([511, ids.get('<|im_end|>')!], { special: true })).toBe('<|im_end|>');
    for (const id of [512, -1, 0.5]) {
      expect(() => tokenizer.bytes(id)).toThrow(expect.objectContaining({ code: 'LLMOPT_TOKEN_INVALID' }));
    }
  });

  it.each<[name: string, generation: unknown, metadata: Record<string, number | number[]>, expected: number[] | 'eos']>(
    [
      ['what generation_config.json names', { eos_token_id: [7, 9] }, { eos_token_id: 5 }, [7, 9]],
      ['one that it names', { eos_token_id: 7 }, {}, [7]],
      ['what config.json names', {}, { eos_token_id: [5, 6] }, [5, 6]],
      ['what config.json names, with no other file', undefined, { eos_token_id: 5 }, [5]],
      ['the end token of the tokenizer', { eos_token_id: null }, {}, 'eos'],
    ],
  )('ends with %s', async (_, generation, metadata, expected) => {
    if (generation) await write('generation_config.json', generation);
    const tokenizer = await open(folder, metadata);
    expect([...tokenizer.stopTokens]).toEqual(expected === 'eos' ? [tokenizer.eosToken] : expected);
  });

  it('takes the template of chat_template.jinja before that of the configuration', async () => {
    const config = await json('tokenizer_config.json');
    await write('tokenizer_config.json', { ...config, chat_template: 'from the configuration {{ eos_token }}' });
    await writeFile(join(folder, 'chat_template.jinja'), 'from the file {{ messages[0].content }}');
    const messages = [{ role: 'user', content: 'x' }];
    expect((await open(folder)).renderChat(messages)).toBe('from the file x');
    await rm(join(folder, 'chat_template.jinja'));
    expect((await open(folder)).renderChat(messages)).toBe('from the configuration <|im_end|>');
    await write('tokenizer_config.json', config);
    const without = await open(folder);
    expect(() => without.renderChat(messages)).toThrow(expect.objectContaining({ code: 'LLMOPT_CHAT_TEMPLATE' }));
  });

  it('finds special tokens wherever the files name them', async () => {
    const config = await json('tokenizer_config.json');
    const tokenizer = await json('tokenizer.json');
    const find = (content: string) =>
      tokenizer.added_tokens.find((token: { content: string }) => token.content === content);
    tokenizer.added_tokens = tokenizer.added_tokens.filter((token: unknown) => token !== find('<|im_start|>'));
    for (const token of tokenizer.added_tokens) token.special = false;
    await write('tokenizer.json', tokenizer);
    const { eos_token, ...rest } = config;
    const start = { content: '<|im_start|>', special: true, lstrip: false, rstrip: false };
    await write('tokenizer_config.json', {
      ...rest,
      added_tokens_decoder: { 401: start },
      additional_special_tokens: ['<tool_call>'],
    });
    await write('special_tokens_map.json', { eos_token: { content: eos_token } });
    const made = await open(folder);
    expect(made.eosToken).toBe(find('<|im_end|>').id);
    for (const text of ['<|im_start|>', '<|im_end|>', '<tool_call>']) {
      expect(made.encode(text).length, text).toBeGreaterThan(1);
      expect(made.encode(text, { special: true }), text).toHaveLength(1);
    }
    expect(made.encode('</tool_call>')).toHaveLength(1);
  });

  it('has a checksum of every file that counts', async () => {
    const sums = [(await open(folder)).checksum];
    await write('generation_config.json', { eos_token_id: 3 });
    sums.push((await open(folder)).checksum);
    await writeFile(join(folder, 'chat_template.jinja'), 'x');
    sums.push((await open(folder)).checksum);
    await write('tokenizer_config.json', {});
    sums.push((await open(folder)).checksum);
    await write('tokenizer.json', { ...(await json('tokenizer.json')), version: '2' });
    sums.push((await open(folder)).checksum);
    expect(new Set(sums).size).toBe(5);
  });

  const model = (change: object) => (tokenizer: { model: object }) => ({
    ...tokenizer,
    model: { ...tokenizer.model, ...change },
  });
  const field = (change: object) => (tokenizer: object) => ({ ...tokenizer, ...change });
  it.each<[name: string, change: (tokenizer: { model: object }) => unknown, message: string]>([
    ['another model', model({ type: 'Unigram' }), 'its model is "Unigram"; only BPE'],
    ['no model', field({ model: null }), 'it has no model'],
    ['no vocabulary', model({ vocab: [] }), 'its vocabulary is no object'],
    ['a negative id', model({ vocab: { a: -1 } }), 'the token "a" has the id -1'],
    ['a huge id', model({ vocab: { a: 2 ** 40 } }), 'the token "a" has the id 1099511627776'],
    ['two tokens of one id', model({ vocab: { a: 0, b: 0 }, merges: [] }), 'the tokens ["a","b"] have the same id 0'],
    ['no merges', model({ merges: null }), 'its merges are no list'],
    ['a merge of nothing', model({ merges: [['a', '\u{1f600}']] }), 'has a part or a result that is no token'],
    ['a merge of one', model({ merges: ['a'] }), 'has a part or a result that is no token'],
    ['an added token without an id', field({ added_tokens: [{ content: 'x' }] }), 'lacks an id or a text'],
    ['added tokens that are none', field({ added_tokens: [null] }), 'lacks an id or a text'],
    ['no decoder', field({ decoder: null }), 'it has no decoder'],
    ['another decoder', field({ decoder: { type: 'WordPiece' } }), 'the decoder {"type":"WordPiece"} is not supported'],
    [
      'a splitting that the library does not know',
      field({ pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithNext', invert: false } }),
      'its splitting ({"behavior":"MergedWithNext","invert":false}) is not supported',
    ],
    [
      'a splitting at nothing',
      field({ pre_tokenizer: { type: 'Split', behavior: 'Isolated' } }),
      'a Split has no pattern',
    ],
    ['a replacement of nothing', field({ normalizer: { type: 'Replace', content: 'x' } }), 'a Replace has no pattern'],
    ['another normalizer', field({ normalizer: { type: 'Nonsense' } }), 'Nonsense'],
    [
      'a broken pattern',
      field({ pre_tokenizer: { type: 'Split', pattern: { Regex: '(' }, behavior: 'Isolated' } }),
      'cannot be used',
    ],
    [
      'a post-processor of other tokens',
      field({
        post_processor: {
          type: 'TemplateProcessing',
          single: [{ SpecialToken: { id: '<x>' } }, { Sequence: { id: 'A' } }],
        },
      }),
      'its post-processor adds "<x>", which is no token',
    ],
    [
      'a post-processor without the text',
      field({ post_processor: { type: 'TemplateProcessing', single: [] } }),
      'loses the text',
    ],
  ])('refuses %s', async (_, change, message) => {
    await write('tokenizer.json', change(await json('tokenizer.json')));
    await expect(open(folder)).rejects.toMatchObject({
      code: 'LLMOPT_TOKENIZER_INVALID',
      message: expect.stringContaining(message),
    });
  });

  it('either works or is refused with whatever in the files is something else', async () => {
    const names = ['tokenizer.json', 'tokenizer_config.json'];
    const sound = await Promise.all(names.map(json));
    const places = sound.flatMap((value, file) => placesOf(value).map((place) => ({ file, place })));
    const hostile = fc.constantFrom<unknown>(
      null,
      0,
      -1,
      2 ** 53,
      1.5,
      true,
      '',
      'x',
      '(',
      [],
      [null],
      {},
      { type: 'Sequence' },
    );
    const change = fc.record({ at: fc.nat(places.length - 1), value: fc.option(hostile, { nil: undefined }) });
    const outcomes = { works: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        const files = structuredClone(sound);
        for (const { at, value } of changes) {
          const { file, place } = places[at]!;
          const parent = place.slice(0, -1).reduce((node, key) => node?.[key], files[file]);
          if (typeof parent === 'object' && parent !== null) parent[place.at(-1)!] = structuredClone(value);
        }
        await Promise.all(names.map((name, file) => write(name, files[file])));
        const tokenizer = await open(folder).catch((error: unknown) => error);
        if (!LlmoptError.isInstance(tokenizer)) {
          const ids = (tokenizer as Tokenizer).encode('Hello <|im_end|> 12', { special: true });
          expect(typeof (tokenizer as Tokenizer).decode(ids)).toBe('string');
          outcomes.works++;
        } else outcomes.refused++;
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(outcomes.works, outcomes.refused)).toBeGreaterThan(100);
  }, 60_000);

  it('says that tokenizer.json is missing or broken', async () => {
    await writeFile(join(folder, 'tokenizer.json'), '{"model":');
    await expect(open(folder)).rejects.toMatchObject({ code: 'LLMOPT_JSON_INVALID' });
    await rm(join(folder, 'tokenizer.json'));
    await expect(open(folder)).rejects.toMatchObject({
      code: 'LLMOPT_TOKENIZER_INVALID',
      message: expect.stringContaining('has no tokenizer.json'),
    });
  });
});

/** The places of all values in a JSON value, but of no more than ten in a list or object. */
function placesOf(value: unknown): (string | number)[][] {
  if (typeof value !== 'object' || value === null) return [];
  const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
  return keys
    .slice(0, 10)
    .flatMap((key) => [[key], ...placesOf(value[key as keyof typeof value]).map((rest) => [key, ...rest])]);
}
