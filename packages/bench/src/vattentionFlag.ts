import { LlmoptError } from '@llmopt/core';
import type { PluginChoice } from './arms/spec.ts';
import type { ParsedFlags } from './flags.ts';

const isPair = (word: string | undefined) => word !== undefined && /^[A-Za-z]+=/.test(word);

/** A command line in which `--vattention a=1 b=2` is one word, as is `--vattention` alone: what may follow it is told by its look. */
export function joinVattention(rawArgs: readonly string[]): string[] {
  const at = rawArgs.indexOf('--vattention');
  if (at < 0) return [...rawArgs];
  let end = at + 1;
  while (isPair(rawArgs[end])) end++;
  return [...rawArgs.slice(0, at), `--vattention=${rawArgs.slice(at + 1, end).join()}`, ...rawArgs.slice(end)];
}

function parseValue(text: string): string | number | boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** The options written behind `--vattention`, which vattention itself checks; undefined without the flag. @throws LLMOPT_OPTION_INVALID */
export function vattentionChoice(values: ParsedFlags['values']): PluginChoice | undefined {
  const text = values.vattention;
  if (typeof text !== 'string') return undefined;
  const pairs = text.split(',').filter((word) => word.trim() !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name = '', ...value] = pair.trim().split('=');
      if (name !== '' && value.length > 0 && value[0] !== '') return [name, parseValue(value.join('='))];
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `--vattention has '${pair}', which is not like option=value.`, {
        hint: 'Write it like --vattention reclaim=eager groupBytes=16384.',
      });
    }),
  );
}
