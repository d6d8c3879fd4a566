import type { Checkpoint } from '../../checkpoint/checkpoint.ts';
import { LlmoptError } from '../../errors.ts';
import { type ChatPiece, createChatTemplate } from '../chat.ts';
import { alternatives } from '../specialPattern.ts';
import type { StreamDecoder, Tokenizer } from '../tokenizer.ts';
import { createTokenDecoder } from './decoder.ts';
import { createPlainEncoder } from './encoder.ts';
import { readTokenizerFiles, type TokenizerFiles } from './read.ts';
import { type AddedToken, readTokens, tokenText } from './vocabulary.ts';

/**
 * The tokenizer that the files beside the weights describe, as transformers understands them: `tokenizer.json`,
 * `tokenizer_config.json`, `chat_template.jinja`, and the end tokens of `generation_config.json`. Of what stands in a text, other
 * added tokens become tokens everywhere, special ones only where they are asked for.
 * @throws LLMOPT_TOKENIZER_INVALID, LLMOPT_JSON_INVALID, LLMOPT_METADATA_INVALID
 */
export async function tokenizerFromFolder(checkpoint: Checkpoint): Promise<Tokenizer> {
  const files = await readTokenizerFiles(checkpoint);
  return guard(files.file, () => createTokenizer(files, checkpoint.metadata.get('vocab_size')));
}

/** What the library throws at a file that it does not understand, as an error that names the file. */
function guard<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (LlmoptError.isInstance(cause)) throw cause;
    throw new LlmoptError('LLMOPT_TOKENIZER_INVALID', `${file} cannot be used: ${(cause as Error).message}.`, {
      where: { file },
      hint: 'The file is broken or made for a tokenizer that is not supported.',
      cause,
    });
  }
}

const none = new Uint8Array(0);

function createTokenizer(files: TokenizerFiles, embeddingRows: unknown): Tokenizer {
  const { config } = files;
  const tokens = readTokens(files.tokenizer, config);
  const { texts, idOf, added } = tokens;
  const plain = createPlainEncoder(files.tokenizer, tokens);
  const decoder = createTokenDecoder(files.tokenizer.decoder);
  const special = new Map([...added].filter(([, token]) => token.special));
  const addedById = new Map([...added.values()].map((token) => [token.id, token]));
  const idOfNamed = (name: string) => idOf.get(tokenText(config[name]) ?? '');
  const bosToken = idOfNamed('bos_token');
  const eosToken = idOfNamed('eos_token') ?? files.eosTokens?.[0];
  // Models have rows for more tokens than there are; whatever such a row stands for has no text.
  const size = Math.max(texts.length, typeof embeddingRows === 'number' ? embeddingRows : 0);
  const chat = createChatTemplate(files.chatTemplate, files.file, {
    bos: tokenText(config.bos_token) ?? '',
    eos: tokenText(config.eos_token) ?? '',
  });
  const known: (Uint8Array | undefined)[] = [];

  function spelling(id: number): Uint8Array {
    if (!(Number.isInteger(id) && id >= 0 && id < size)) {
      throw new LlmoptError('LLMOPT_TOKEN_INVALID', `There is no token ${id}; ids go from 0 to ${size - 1}.`);
    }
    const text = texts[id];
    if (text === undefined) return none;
    known[id] ??= addedById.has(id) ? new TextEncoder().encode(text) : decoder.bytes(text);
    return known[id];
  }
  const bytes = (id: number, withSpecial = false) => {
    const own = spelling(id);
    return addedById.get(id)?.special && !withSpecial ? none : own;
  };

  function encodePieces(pieces: readonly ChatPiece[]): number[] {
    const ids: number[] = [];
    for (const part of splitSpecial(pieces, special)) {
      if (typeof part !== 'string') ids.push(part.id);
      else for (const id of guard(files.file, () => plain.encode(part, ids.length === 0))) ids.push(id);
    }
    return ids;
  }
  // Much of what may be wrong with a file shows only in use.
  encodePieces([{ from: 'message', text: 'A 1' }]);

  function streamDecoder(options: { special?: boolean } = {}): StreamDecoder {
    const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
    let spaces = decoder.leadingSpaces;
    return {
      push(id) {
        const own = bytes(id, options.special);
        let from = 0;
        while (spaces > 0 && own[from] === 0x20) {
          spaces--;
          from++;
        }
        if (from < own.length) spaces = 0;
        return utf8.decode(own.subarray(from), { stream: true });
      },
      end: () => utf8.decode(),
    };
  }

  return {
    vocabularySize: size,
    checksum: files.checksum,
    bosToken,
    eosToken,
    stopTokens: new Set(files.eosTokens ?? (eosToken === undefined ? [] : [eosToken])),
    encode(text, options = {}) {
      const ids = encodePieces([{ from: options.special ? 'template' : 'message', text }]);
      if (options.addBos === undefined) return [...plain.around.before, ...ids, ...plain.around.after];
      return options.addBos && bosToken !== undefined ? [bosToken, ...ids] : ids;
    },
    decode(ids, options = {}) {
      const stream = streamDecoder(options);
      let text = '';
      for (const id of ids) text += stream.push(id);
      return text + stream.end();
    },
    bytes: (id) => bytes(id),
    streamDecoder,
    renderChat: (messages, options = {}) =>
      chat
        .render(messages, options.addGenerationPrompt ?? true)
        .map(({ text }) => text)
        .join(''),
    encodeChat: (messages, options = {}) => encodePieces(chat.render(messages, options.addGenerationPrompt ?? true)),
  };
}

/** Runs of plain text, and the special tokens that the template wrote between them; a piece's end alone ends no run. */
function splitSpecial(pieces: readonly ChatPiece[], special: ReadonlyMap<string, AddedToken>): (string | AddedToken)[] {
  const pattern = special.size === 0 ? undefined : new RegExp(`(${alternatives([...special.keys()])})`);
  const parts: (string | AddedToken)[] = [];
  let strip = false;
  function addText(text: string) {
    const rest = strip ? text.trimStart() : text;
    if (rest === '') return;
    strip = false;
    if (typeof parts.at(-1) === 'string') parts.push(`${parts.pop()}${rest}`);
    else parts.push(rest);
  }
  for (const { from, text } of pieces) {
    const split = from === 'template' && pattern ? text.toWellFormed().split(pattern) : [text.toWellFormed()];
    for (const [index, part] of split.entries()) {
      const token = index % 2 === 1 ? special.get(part) : undefined;
      if (!token) {
        addText(part);
        continue;
      }
      const before = parts.at(-1);
      if (token.lstrip && typeof before === 'string') {
        parts.pop();
        addText(before.trimEnd());
      }
      parts.push(token);
      strip = token.rstrip;
    }
  }
  return parts;
}
