import { LlmoptError } from '@llmopt/core';

export interface VattentionOptions {
  /** Bytes of memory that keys and values may take. Default: all that is reserved. */
  budgetBytes?: number;
  /** Memory is committed in groups of so many bytes in each range, rounded up to whole pages. Default 16,384. */
  groupBytes?: number;
  /**
   * What happens to the memory of a sequence that ends: `deferred` (default) keeps it for the next one, within `warmBytes`; `eager` gives it back
   * at once.
   */
  reclaim?: 'deferred' | 'eager';
  /** With `deferred`: bytes that may stay committed without a token of a sequence. Default: a quarter of the budget. */
  warmBytes?: number;
  /** Share of the budget that a new sequence must leave free while others run, from 0 to below 1. Default 0.01. */
  watermark?: number;
  /** Tokens for which memory is committed ahead in idle time. Default 8; 0: none. */
  eagerTokens?: number;
  /** Whether a sequence may begin with what another one left of the same tokens. Default true. */
  prefixReuse?: boolean;
}

/** Options with their defaults, but for those that depend on the layout. */
export type Settings = Required<Omit<VattentionOptions, 'budgetBytes' | 'warmBytes'>> &
  Pick<VattentionOptions, 'budgetBytes' | 'warmBytes'>;

/** By its type, the list cannot miss one. */
const known: Readonly<Record<keyof VattentionOptions, true>> = {
  budgetBytes: true,
  groupBytes: true,
  reclaim: true,
  warmBytes: true,
  watermark: true,
  eagerTokens: true,
  prefixReuse: true,
};

/** Fills in the defaults and checks every value. @throws LLMOPT_OPTION_INVALID */
export function settingsOf(options: VattentionOptions): Settings {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(known, name));
  if (unknown !== undefined) {
    throw invalid(`there is no option "${unknown}"`, `There are ${Object.keys(known).join(', ')}.`);
  }
  const { groupBytes = 16_384, reclaim = 'deferred', watermark = 0.01, eagerTokens = 8, prefixReuse = true } = options;
  const { budgetBytes, warmBytes } = options;
  const counts = { budgetBytes: [budgetBytes, 1], groupBytes: [groupBytes, 1], warmBytes: [warmBytes, 0] } as const;
  for (const [name, [value, least]] of Object.entries({ ...counts, eagerTokens: [eagerTokens, 0] as const })) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= least)) continue;
    throw invalid(`${name} is ${value}; a whole number from ${least} on is allowed`);
  }
  if (reclaim !== 'deferred' && reclaim !== 'eager') {
    throw invalid(`reclaim is "${reclaim}"; deferred and eager are allowed`);
  }
  if (reclaim === 'eager' && (warmBytes ?? 0) > 0) {
    throw invalid('with eager reclaim no memory stays warm', 'Leave out warmBytes, or reclaim.');
  }
  if (!(watermark >= 0 && watermark < 1))
    throw invalid(`watermark is ${watermark}; a share from 0 to below 1 is allowed`);
  if (typeof prefixReuse !== 'boolean') throw invalid(`prefixReuse is ${prefixReuse}; true and false are allowed`);
  return { budgetBytes, groupBytes, reclaim, warmBytes, watermark, eagerTokens, prefixReuse };
}

const invalid = (problem: string, hint?: string) =>
  new LlmoptError('LLMOPT_OPTION_INVALID', `vattention: ${problem}.`, hint ? { hint } : {});
