import { LlmoptError } from '@llmopt/core';
import type { LarosaOptions } from './larosa.ts';

/** By its type, the list cannot miss one. */
const known: Readonly<Record<keyof LarosaOptions, true>> = {
  sparsity: true,
  coefficients: true,
  score: true,
  selection: true,
  prefill: true,
  budget: true,
  rotation: true,
  values: true,
  compensation: true,
  calibration: true,
};

/** Options may come from a command line: one that is not known must not pass for one that does nothing. @throws LLMOPT_OPTION_INVALID */
export function checkKnown(options: object): void {
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(known, name));
  if (unknown === undefined) return;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `larosa: there is no option "${unknown}".`, {
    hint: `There are ${Object.keys(known).join(', ')}.`,
  });
}
