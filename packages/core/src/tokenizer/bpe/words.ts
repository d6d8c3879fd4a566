const gpt2Words =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

const qwen2Words =
  "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\p{White_Space}\\p{L}\\p{N}]+[\\r\\n]*|\\p{White_Space}*[\\r\\n]+|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

/**
 * How texts are cut in words, by the names that GGUF files use: each pattern cuts what the one before left whole, in its matches and what
 * lies between them. `White_Space`, since JavaScript's \s differs from it.
 */
const preTokenizers: Readonly<Record<string, readonly string[]>> = {
  'gpt-2': [gpt2Words],
  smollm: ['\\p{N}', gpt2Words],
  qwen2: [qwen2Words],
};

export const knownPreTokenizers = Object.keys(preTokenizers);

/** The patterns of a pre-tokenizer; undefined when the name is not known. */
export function wordPatterns(name: string): readonly string[] | undefined {
  return Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined;
}

/** Calls `take` with each word of a text, in order. */
export function cutWords(text: string, patterns: readonly RegExp[], take: (word: string) => void, first = 0): void {
  const pattern = patterns[first];
  if (!pattern) {
    if (text !== '') take(text);
    return;
  }
  const cut = (piece: string) => cutWords(piece, patterns, take, first + 1);
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) cut(text.slice(end, match.index));
    cut(match[0]);
    end = match.index + match[0].length;
  }
  if (end < text.length) cut(text.slice(end));
}
