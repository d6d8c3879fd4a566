import { parseArgs } from 'node:util';
import { LlmoptError } from '@llmopt/core';
import type { ArgsDef } from 'citty';

/** Values as they were written: text, `true` for a switch, `false` for `--no-...`. Absent flags are absent. */
export interface ParsedFlags {
  values: Readonly<Record<string, string | boolean>>;
  positionals: readonly string[];
}

/** `--no-x` exists for what may be switched off: definitions with a `negativeDescription`. */
function declaredOptions(definitions: ArgsDef): Record<string, { type: 'string' | 'boolean' }> {
  const options: Record<string, { type: 'string' | 'boolean' }> = {};
  for (const [name, definition] of Object.entries(definitions)) {
    if (definition.type === 'positional') continue;
    options[name] = { type: definition.type === 'boolean' ? 'boolean' : 'string' };
    if ('negativeDescription' in definition) options[`no-${name}`] = { type: 'boolean' };
  }
  return options;
}

/**
 * Reads a command line by citty's definitions, strictly: citty's own parser lets unknown flags and missing values pass.
 * @throws LLMOPT_OPTION_INVALID for an unknown flag, a flag without its value, or a surplus word.
 */
export function parseFlags(rawArgs: readonly string[], definitions: ArgsDef): ParsedFlags {
  const options = declaredOptions(definitions);
  const positionalNames = Object.keys(definitions).filter((name) => definitions[name]?.type === 'positional');
  const parsed = (() => {
    try {
      return parseArgs({ args: [...rawArgs], options, strict: true, allowPositionals: true });
    } catch (cause) {
      const said = cause instanceof Error ? cause.message.replace(/\. To specify a positional argument.*$/s, '.') : String(cause);
      throw new LlmoptError('LLMOPT_OPTION_INVALID', said.replace(/\.?$/, '.'), {
        hint: 'Run llmopt-bench --help for the list of options.',
        cause,
      });
    }
  })();
  if (parsed.positionals.length !== positionalNames.length) {
    const message =
      parsed.positionals.length > positionalNames.length
        ? `Unexpected argument '${parsed.positionals[positionalNames.length]}'.`
        : `Missing argument ${positionalNames[parsed.positionals.length]?.toUpperCase()}.`;
    throw new LlmoptError('LLMOPT_OPTION_INVALID', message, {
      hint: 'Run llmopt-bench --help for the list of options.',
    });
  }
  const values: Record<string, string | boolean> = {};
  for (const [name, value] of Object.entries(parsed.values)) {
    if (value === undefined || Array.isArray(value)) continue;
    const negated = name.startsWith('no-') && !(name in definitions) ? name.slice(3) : undefined;
    if (negated !== undefined && parsed.values[negated] !== undefined) {
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${negated} and --no-${negated} contradict each other.`, {
        hint: 'Give one of the two.',
      });
    }
    values[negated ?? name] = negated === undefined ? value : false;
  }
  return { values, positionals: parsed.positionals };
}

/** The number written for a flag, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID */
export function numberFlag(values: ParsedFlags['values'], name: string): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const number = typeof text === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (Number.isFinite(number)) return number;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} must be a number, but is '${text}'.`, {
    hint: `Write it like --${name}=4.`,
  });
}

/** The text written for a flag, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID if it is empty */
export function textFlag(values: ParsedFlags['values'], name: string): string | undefined {
  const text = values[name];
  if (text === '') {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} is empty.`, { hint: 'Give it a value.' });
  }
  return typeof text === 'string' ? text : undefined;
}
