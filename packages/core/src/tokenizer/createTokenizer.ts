import { createHash } from 'node:crypto';
import { LlmoptError } from '../errors.ts';
import { stringAt } from '../strings/stringList.ts';
import { createBpe } from './bpe/index.ts';
import { tokenBytes } from './bytes.ts';
import { type ChatPiece, createChatTemplate } from './chat.ts';
import { alternatives } from './specialPattern.ts';
import type { StreamDecoder, Tokenizer } from './tokenizer.ts';
import { invalidVocabulary, type Vocabulary } from './vocabulary.ts';

// Tokens by which models end a turn, whatever the metadata say.
const endNames = new Set(['<|im_end|>', '<|endoftext|>', '<|eot_id|>', '<|end_of_text|>', '<|end|>', '</s>']);

/**
 * A tokenizer of byte-level BPE.
 * @throws LLMOPT_TOKENIZER_INVALID when the vocabulary contradicts itself, LLMOPT_OUT_OF_MEMORY
 */
export function createTokenizer(vocabulary: Vocabulary): Tokenizer {
  const { file, tokens, bosToken, eosToken } = vocabulary;
  const encodePlain = createBpe(vocabulary, (list, problem) => invalidVocabulary(file, list, problem));
  const isSpecial = new Set(vocabulary.special);
  const special = new Map(vocabulary.special.map((id) => [stringAt(tokens, id), id]));
  special.delete('');
  const specialPattern = special.size === 0 ? undefined : new RegExp(alternatives([...special.keys()]));
  const chat = createChatTemplate(vocabulary.chatTemplate, file, {
    bos: bosToken === undefined ? '' : stringAt(tokens, bosToken),
    eos: eosToken === undefined ? '' : stringAt(tokens, eosToken),
  });
  let checksum: string | undefined;
  const known: (Uint8Array | undefined)[] = [];
  const none = new Uint8Array(0);

  function spelling(id: number): Uint8Array {
    if (!(Number.isInteger(id) && id >= 0 && id < tokens.length)) {
      throw new LlmoptError('LLMOPT_TOKEN_INVALID', `There is no token ${id}; ids go from 0 to ${tokens.length - 1}.`);
    }
    known[id] ??= tokenBytes(stringAt(tokens, id));
    return known[id];
  }
  const bytes = (id: number, withSpecial = false) => {
    const own = spelling(id);
    return isSpecial.has(id) && !withSpecial ? none : own;
  };

  /** Special tokens are recognised where the mask of `pieces` says that the template wrote them. */
  function encodePieces(pieces: readonly ChatPiece[]): number[] {
    const ids: number[] = [];
    let plain = '';
    const flush = () => {
      for (const id of encodePlain(plain)) ids.push(id);
      plain = '';
    };
    for (const { from, text } of pieces) {
      let rest = text.toWellFormed();
      for (
        let found = from === 'template' ? specialPattern?.exec(rest) : null;
        found;
        found = specialPattern!.exec(rest)
      ) {
        plain += rest.slice(0, found.index);
        flush();
        ids.push(special.get(found[0])!);
        rest = rest.slice(found.index + found[0].length);
      }
      plain += rest;
    }
    flush();
    return ids;
  }

  function streamDecoder(options: { special?: boolean } = {}): StreamDecoder {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    return {
      push: (id) => decoder.decode(bytes(id, options.special), { stream: true }),
      end: () => decoder.decode(),
    };
  }

  return {
    vocabularySize: tokens.length,
    get checksum() {
      checksum ??= checksumOf(vocabulary);
      return checksum;
    },
    bosToken,
    eosToken,
    stopTokens: stopTokensOf(vocabulary, special),
    encode(text, options = {}) {
      const ids = encodePieces([{ from: options.special ? 'template' : 'message', text }]);
      return (options.addBos ?? vocabulary.addBos) && bosToken !== undefined ? [bosToken, ...ids] : ids;
    },
    decode(ids, options = {}) {
      const decoder = streamDecoder(options);
      let text = '';
      for (const id of ids) text += decoder.push(id);
      return text + decoder.end();
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

function stopTokensOf({ eosToken, eotToken }: Vocabulary, special: ReadonlyMap<string, number>): ReadonlySet<number> {
  const byName = [...special].flatMap(([token, id]) => (endNames.has(token) ? [id] : []));
  return new Set([eosToken, eotToken, ...byName].filter((id) => id !== undefined));
}

function checksumOf({ file: _, tokens, merges, ...all }: Vocabulary): string {
  const sum = createHash('sha256').update(JSON.stringify([tokens.length, merges.length, Object.entries(all)]));
  for (const { bytes, ends } of [tokens, merges]) sum.update(bytes).update(ends);
  return sum.digest('hex');
}
