export interface ChatMessage {
  role: 'system' | 'user' | 'assistant' | (string & {});
  content: string;
}

export interface EncodeOptions {
  /** Recognise special tokens written in the text. Default false: text stays text. */
  special?: boolean;
  /** Put the begin-of-sequence token in front. Default: what the model's file asks for. */
  addBos?: boolean;
}

export interface DecodeOptions {
  /** Write special tokens out. Default false. */
  special?: boolean;
}

/** Turns ids into text as they come, and never splits a UTF-8 character. */
export interface StreamDecoder {
  /** Text that is complete after this token; '' while a character is still open. */
  push(id: number): string;
  /** What is left; an open character becomes U+FFFD. */
  end(): string;
}

/**
 * Text to token ids and back. `decode(encode(text)) === text` holds for every string whose UTF-8 bytes all have a token (lone
 * surrogates are encoded as U+FFFD). A byte that the vocabulary lacks is dropped, as llama.cpp does.
 */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** Hash of all that the ids depend on. */
  readonly checksum: string;
  readonly bosToken: number | undefined;
  readonly eosToken: number | undefined;
  /** Tokens that end a generation: end of sequence, end of turn. */
  readonly stopTokens: ReadonlySet<number>;
  encode(text: string, options?: EncodeOptions): number[];
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** Bytes of one token; empty for special tokens. @throws LLMOPT_TOKEN_INVALID */
  bytes(id: number): Uint8Array;
  streamDecoder(options?: DecodeOptions): StreamDecoder;
  /** The conversation as text, as the model's template writes it. @throws LLMOPT_CHAT_TEMPLATE */
  renderChat(messages: readonly ChatMessage[], options?: ChatOptions): string;
  /** The conversation as ids. What the messages say never becomes a special token. @throws LLMOPT_CHAT_TEMPLATE */
  encodeChat(messages: readonly ChatMessage[], options?: ChatOptions): number[];
}

export interface ChatOptions {
  /** End with the opening of an assistant turn. Default true. */
  addGenerationPrompt?: boolean;
}
