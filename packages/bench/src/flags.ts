import { parseArgs } from 'node:util';
import { LlmoptError } from '@llmopt/core';
import type { ArgsDef } from 'citty';

export interface ParsedFlags {
  /** Values as they were written: text, with commas between those of a flag that was given more than once, or `true` for a switch. */
  values: Readonly<Record<string, string | boolean>>;
  positionals: readonly string[];
}

/**
 * Reads a command line by citty's definitions, strictly: citty's own parser lets unknown flags and missing values pass.
 * Of a flag that is not `repeatable`, the last one counts.
 * @throws LLMOPT_OPTION_INVALID for an unknown flag, a flag without its value, or a surplus word.
 */
export function parseFlags(
  rawArgs: readonly string[],
  definitions: ArgsDef,
  repeatable: readonly string[] = [],
): ParsedFlags {
  const flags = Object.entries(definitions).filter(([, { type }]) => type !== 'positional');
  const options = Object.fromEntries(
    flags.map(([name, { type }]) => [
      name,
      { type: type === 'boolean' ? ('boolean' as const) : ('string' as const), multiple: repeatable.includes(name) },
    ]),
  );
  const positionalNames = Object.keys(definitions).filter((name) => definitions[name]?.type === 'positional');
  const parsed = (() => {
    try {
      return parseArgs({ args: [...rawArgs], options, strict: true, allowPositionals: true });
    } catch (cause) {
      const said =
        cause instanceof Error ? cause.message.replace(/\. To specify a positional argument.*$/s, '.') : String(cause);
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
  const values = Object.entries(parsed.values).map(([name, value]) => [
    name,
    Array.isArray(value) ? value.join() : value,
  ]);
  return { values: Object.fromEntries(values), positionals: parsed.positionals };
}

/** The number written for a flag, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID */
export function numberFlag(values: ParsedFlags['values'], name: string): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const number = parseNumber(text);
  if (Number.isFinite(number)) return number;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} must be a number, but is '${text}'.`, {
    hint: `Write it like --${name}=4.`,
  });
}

/** The numbers written for a flag, with commas between them, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID */
export function numberListFlag(values: ParsedFlags['values'], name: string): number[] | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const numbers = String(text)
    .split(',')
    .map((part) => parseNumber(part.trim()));
  if (numbers.every(Number.isFinite)) return numbers;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} must be numbers with commas between, but is '${text}'.`, {
    hint: `Write it like --${name}=1,2.`,
  });
}

function parseNumber(text: string | boolean): number {
  return typeof text === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
}

/** The text written for a flag, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID if it is empty */
export function textFlag(values: ParsedFlags['values'], name: string): string | undefined {
  const text = values[name];
  if (text === '') {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} is empty.`, { hint: 'Give it a value.' });
  }
  return typeof text === 'string' ? text : undefined;
}

/** What `--name` says, or `false` for `--no-name`. @throws LLMOPT_OPTION_INVALID if both are there */
export function textOrOff(values: ParsedFlags['values'], name: string): string | false | undefined {
  const text = textFlag(values, name);
  if (values[`no-${name}`] !== true) return text;
  if (text === undefined) return false;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `--${name} and --no-${name} contradict each other.`, {
    hint: 'Give one of the two.',
  });
}

/** The words written for a flag, with commas between them, or undefined when it is absent. @throws LLMOPT_OPTION_INVALID if it is empty */
export const listFlag = (values: ParsedFlags['values'], name: string): string[] | undefined =>
  textFlag(values, name)
    ?.split(',')
    .map((word) => word.trim());
