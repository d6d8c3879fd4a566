import { LlmoptError } from '@llmopt/core';

export interface SearchOptions {
  /** Where budgets are looked for; between them they are interpolated. Default 0.25, 0.4, 0.5. */
  sparsities?: readonly number[];
  /** Time limit. What was found until then is kept. Default 300. */
  seconds?: number;
  /** How many budgets to measure at most: with a limit that is reached before that of time, the outcome is always the same. */
  candidates?: number;
  /** Tokens behind those of the calibration, on which budgets are measured. Default 2,048. */
  tokens?: number;
}

/** What a search was asked to do. */
export interface SearchSettings {
  readonly sparsities: readonly number[];
  readonly seconds: number;
  readonly candidates?: number;
  readonly tokens: number;
}

/** @throws LLMOPT_OPTION_INVALID */
export function checkSearch(options: SearchOptions): SearchSettings {
  const { sparsities = [0.25, 0.4, 0.5], seconds = 300, candidates, tokens = 2048 } = options;
  const sorted = [...new Set(sparsities)].sort((a, b) => a - b);
  if (sorted.length === 0 || sorted.length > 16 || !sorted.every((sparsity) => sparsity > 0 && sparsity < 1)) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `calibrate: the search has the sparsities [${sparsities.join(', ')}]; 1 to 16 numbers between 0 and 1 are allowed.`,
    );
  }
  const most = { seconds: 86_400, candidates: 2 ** 20, tokens: 2 ** 20 };
  for (const [name, value, whole] of [
    ['seconds', seconds, false],
    ['candidates', candidates ?? 1, true],
    ['tokens', tokens, true],
  ] as const) {
    if (!(value > 0 && value <= most[name]) || (whole && !Number.isInteger(value))) {
      throw new LlmoptError(
        'LLMOPT_OPTION_INVALID',
        `calibrate: ${name} of the search is ${value}; a ${whole ? 'whole ' : ''}number above 0, of at most ${most[name]}, is allowed.`,
      );
    }
  }
  return { sparsities: sorted, seconds, ...(candidates !== undefined && { candidates }), tokens };
}

/** Whether what a file says can have come from `checkSearch`. */
export function isSearch(search: unknown): search is SearchSettings {
  try {
    const settings = search as SearchSettings;
    return JSON.stringify(checkSearch(settings)) === JSON.stringify(settings);
  } catch {
    return false;
  }
}
