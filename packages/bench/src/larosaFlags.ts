import { LlmoptError } from '@llmopt/core';
import type { ArgsDef } from 'citty';
import type { LarosaChoice } from './arms/spec.ts';
import { type ParsedFlags, textFlag } from './flags.ts';

/** What larosa may be told beside its sparsity. Values are its own business: it refuses those that it does not know. */
export const larosaArgs = {
  'larosa-rotation': {
    type: 'string',
    valueHint: 'none|layer|shared|N',
    description: 'Rotation of the residual stream',
  },
  'larosa-values': { type: 'boolean', description: "Rotate attention's values, which costs nothing" },
  'larosa-score': { type: 'string', valueHint: 'magnitude|weighted', description: 'What is kept' },
  'larosa-selection': { type: 'string', valueHint: 'topK|threshold', description: 'How it is selected' },
  'larosa-budget': {
    type: 'string',
    valueHint: 'uniform|coefficients|layers|searched',
    description: 'How the sparsity is spread over the inputs',
  },
  'larosa-compensation': { type: 'boolean', description: 'Add the mean of what is dropped' },
  'larosa-prefill': { type: 'string', valueHint: 'dense|sparse', description: 'How the prompt is read' },
  'larosa-calibration': { type: 'string', valueHint: 'FILE', description: 'What llmopt-larosa calibrate wrote' },
} as const satisfies ArgsDef;

const prefix = 'larosa-';

function parseValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  return /^\d+$/.test(text) ? Number(text) : text;
}

/** Every combination of what the flags of `larosaArgs` list; a single empty one if there are none. @throws LLMOPT_OPTION_INVALID */
export function larosaChoices(values: ParsedFlags['values']): LarosaChoice[] {
  let choices: LarosaChoice[] = [{}];
  for (const flag of Object.keys(larosaArgs)) {
    const name = flag.slice(prefix.length);
    const listed =
      values[flag] === true
        ? [true]
        : textFlag(values, flag)
            ?.split(',')
            .map((text) => parseValue(text.trim()));
    if (!listed) continue;
    // A path may hold commas.
    const alternatives = name === 'calibration' ? [String(values[flag])] : [...new Set(listed)];
    choices = choices.flatMap((choice) => alternatives.map((value) => ({ ...choice, [name]: value })));
  }
  return choices;
}

/** The same where only one combination makes sense. @throws LLMOPT_OPTION_INVALID */
export function larosaChoice(values: ParsedFlags['values']): LarosaChoice {
  const [choice = {}, ...others] = larosaChoices(values);
  if (others.length === 0) return choice;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', 'The flags of larosa list more than one combination.', {
    hint: 'Give one value each, or run llmopt-bench sweep.',
  });
}

/**
 * Methods written one by one, `rotation=layer+score=weighted`, with commas between; `name=` gives one a name of its own.
 * @throws LLMOPT_OPTION_INVALID
 */
export function parseMethods(text: string): { name?: string; options: LarosaChoice }[] {
  return text.split(',').map((method) => {
    const pairs = method.split('+').map((pair) => {
      const at = pair.indexOf('=');
      const [key, value] = [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
      if (at > 0 && key !== '' && value !== '') return [key, value] as const;
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `--larosa-method has '${pair}', which is not like option=value.`, {
        hint: 'Write it like --larosa-method rotation=layer+score=weighted.',
      });
    });
    const { name, ...options } = Object.fromEntries(pairs);
    const parsed = Object.fromEntries(Object.entries(options).map(([key, value]) => [key, parseValue(value)]));
    return { ...(name !== undefined && { name }), options: parsed };
  });
}
