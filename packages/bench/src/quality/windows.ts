/** A stretch of tokens that is read from an empty cache. */
export interface Window {
  /** What the model reads: the prefix and the text. */
  tokens: readonly number[];
  /** Row `r` foretells `tokens[r + 1]`; rows before this one foretell nothing that is scored. */
  firstScoredRow: number;
}

/**
 * Cuts a text's ids into windows of at most `length` tokens, `prefix` (a begin-of-sequence token, or nothing) in front
 * of each. Every token is scored but the first of a window without prefix. What cannot score a token is left out.
 */
export function cutWindows(ids: readonly number[], length: number, prefix: readonly number[] = []): Window[] {
  const step = Math.max(1, length - prefix.length);
  const windows: Window[] = [];
  for (let start = 0; start < ids.length; start += step) {
    const tokens = [...prefix, ...ids.slice(start, start + step)];
    const firstScoredRow = Math.max(0, prefix.length - 1);
    if (tokens.length >= firstScoredRow + 2) windows.push({ tokens, firstScoredRow });
  }
  return windows;
}
