/** What a backend is measured with. */
export interface Plan {
  /** Whether it takes turns with the others, on all prompts; a slow one runs alone, on the first. */
  interleaved: boolean;
  /** Tokens of the prompt that it reads; undefined for all. */
  promptTokens: number | undefined;
  /** Tokens that it writes; at least 2. */
  maxNewTokens: number;
  /** Positions at which its logits are compared, at most. */
  positions: number;
}

export interface Speed {
  prefillTokensPerSecond: number;
  decodeTokensPerSecond: number;
}

export interface PlanOptions {
  /** Tokens of the longest prompt. */
  promptTokens: number;
  maxNewTokens: number;
  positions: number;
  /** Seconds that a request may take. */
  requestSeconds: number;
}

/** A slow backend reads and writes at least so many tokens, even if it then takes longer. */
const leastTokens = 4;
const leastPositions = 16;
/** Comparing logits may take as long as so many requests. */
const positionsRequests = 4;

/**
 * What a backend of this speed can do: all that the others do if its longest request takes no longer than `requestSeconds`; else half of
 * the time is for the prompt and half for new tokens.
 */
export function planFor({ prefillTokensPerSecond, decodeTokensPerSecond }: Speed, options: PlanOptions): Plan {
  const { promptTokens, maxNewTokens, requestSeconds } = options;
  const seconds = promptTokens / prefillTokensPerSecond + maxNewTokens / decodeTokensPerSecond;
  const fitting = (tokensPerSecond: number, share: number, least: number, most: number) =>
    Math.min(most, Math.max(least, Math.floor(tokensPerSecond * requestSeconds * share)));
  const positions = fitting(prefillTokensPerSecond, positionsRequests, leastPositions, options.positions);
  if (seconds <= requestSeconds) return { interleaved: true, promptTokens: undefined, maxNewTokens, positions };
  return {
    interleaved: false,
    promptTokens: fitting(prefillTokensPerSecond, 0.5, leastTokens, promptTokens),
    maxNewTokens: fitting(decodeTokensPerSecond, 0.5, leastTokens, maxNewTokens),
    positions,
  };
}
