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

/** The first windows, and of the last of them the first tokens, so that `positions` are scored, or all if there are fewer. */
export function firstPositions(windows: readonly Window[], positions: number): Window[] {
  const kept: Window[] = [];
  let left = positions;
  for (const { tokens, firstScoredRow } of windows) {
    if (left <= 0) break;
    const scored = Math.min(left, tokens.length - 1 - firstScoredRow);
    kept.push({ tokens: tokens.slice(0, firstScoredRow + scored + 1), firstScoredRow });
    left -= scored;
  }
  return kept;
}
