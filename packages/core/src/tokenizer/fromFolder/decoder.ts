import { isJsonObject } from '../../checkpoint/json.ts';
import { tokenBytes } from '../bytes.ts';

/** What tokens stand for. */
export interface TokenDecoder {
  /** The bytes of a token of the vocabulary. */
  bytes(token: string): Uint8Array;
  /** Spaces to be left out where a text begins. */
  readonly leadingSpaces: number;
}

const encoder = new TextEncoder();

/**
 * The `decoder` of a tokenizer.json, token by token: byte-level, or that of SentencePiece models (a sign for the space, bytes
 * written as `<0x0A>`).
 * @throws Error with the reason when it is another one
 */
export function createTokenDecoder(config: unknown): TokenDecoder {
  let byteLevel = false;
  let byteFallback = false;
  let leadingSpaces = 0;
  let space: string | undefined;
  for (const step of stepsOf(config)) {
    const { type } = step;
    if (type === 'ByteLevel') byteLevel = true;
    else if (type === 'ByteFallback') byteFallback = true;
    else if (type === 'Fuse') continue;
    else if (
      type === 'Replace' &&
      isJsonObject(step.pattern) &&
      typeof step.pattern.String === 'string' &&
      step.content === ' '
    )
      space = step.pattern.String;
    else if (type === 'Strip' && step.content === ' ' && isCount(step.start) && step.stop === 0)
      leadingSpaces = step.start;
    else if (type === 'Metaspace' && typeof step.replacement === 'string') {
      space = step.replacement;
      leadingSpaces = step.prepend_scheme === 'never' || step.add_prefix_space === false ? 0 : 1;
    } else throw new Error(`the decoder ${JSON.stringify(step).slice(0, 200)} is not supported`);
  }
  if (byteLevel && space === undefined && !byteFallback) return { bytes: tokenBytes, leadingSpaces };
  if (byteLevel || !space) throw new Error('its decoder is neither byte-level nor that of SentencePiece');
  const sign = space;
  return {
    bytes: (token) =>
      byteFallback && /^<0x[0-9A-Fa-f]{2}>$/.test(token)
        ? Uint8Array.of(Number.parseInt(token.slice(3, 5), 16))
        : encoder.encode(token.replaceAll(sign, ' ')),
    leadingSpaces,
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function stepsOf(config: unknown) {
  const list: unknown = isJsonObject(config) && config.type === 'Sequence' ? config.decoders : [config];
  if (!Array.isArray(list) || !list.every(isJsonObject)) throw new Error('it has no decoder');
  return list;
}
