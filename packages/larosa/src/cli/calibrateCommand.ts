import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { LlmoptError } from '@llmopt/core';
import { type ArgsDef, type CommandDef, defineCommand } from 'citty';
import type { CalibrateOptions } from '../calibration/calibrate.ts';

/** Arguments of `llmopt-larosa calibrate`. citty describes them and writes the usage; node reads them, and lets no unknown one pass. */
export const calibrateArgs = {
  model: { type: 'string', valueHint: 'NAME|PATH', description: 'Model to calibrate (smollm2-135m)' },
  text: { type: 'string', valueHint: 'FILE', description: 'Text that it reads (what it writes itself)' },
  tokens: { type: 'string', valueHint: 'N', description: 'Tokens of it (16384)' },
  window: { type: 'string', valueHint: 'N', description: 'Tokens per sequence (512)' },
  samples: { type: 'string', valueHint: 'N', description: 'Rows of activations to keep (256)' },
  seed: { type: 'string', valueHint: 'N', description: 'Of the rows and of what the model writes (0)' },
  'search-seconds': { type: 'string', valueHint: 'N', description: 'Time to look for the best budgets (300)' },
  'no-search': { type: 'boolean', description: 'Do not look for them' },
  out: { type: 'string', valueHint: 'FILE', description: 'The file to write (one in the cache folder)' },
} as const satisfies ArgsDef;

export const calibrateCommand: CommandDef = defineCommand({
  meta: { name: 'calibrate', description: 'Let a model read text, and keep what its activations look like.' },
  args: calibrateArgs as ArgsDef,
});

export const larosaCommand: CommandDef = defineCommand({
  meta: { name: 'llmopt-larosa', description: 'Prepare a model for sparse activations.' },
  subCommands: { calibrate: calibrateCommand },
});

/** The options that a command line stands for. @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND */
export async function calibrateOptions(rawArgs: readonly string[]): Promise<CalibrateOptions> {
  const values = parse(rawArgs);
  const number = (name: TextArg, option: string = name) => {
    const text = values[name];
    if (text === undefined) return {};
    if (!/^\d+$/.test(text)) throw invalid(`--${name} must be a whole number, but is '${text}'.`);
    return { [option]: Number(text) };
  };
  const search = number('search-seconds', 'seconds');
  if (values['no-search'] && 'seconds' in search) throw invalid('--no-search and --search-seconds are both given.');
  return {
    ...(values.model !== undefined && { model: values.model }),
    ...(values.out !== undefined && { out: values.out }),
    ...(values.text !== undefined && { text: await readText(values.text) }),
    ...number('tokens'),
    ...number('window'),
    ...number('samples'),
    ...number('seed'),
    search: values['no-search'] ? false : search,
  };
}

type TextArg = Exclude<keyof typeof calibrateArgs, 'no-search'>;

function parse(rawArgs: readonly string[]): Partial<Record<TextArg, string> & { 'no-search': boolean }> {
  const options = Object.fromEntries(Object.entries(calibrateArgs).map(([name, { type }]) => [name, { type }]));
  try {
    const { values } = parseArgs({ args: [...rawArgs], options, strict: true, allowPositionals: false });
    for (const [name, value] of Object.entries(values)) if (value === '') throw new Error(`--${name} is empty`);
    return values;
  } catch (cause) {
    const said =
      cause instanceof Error ? cause.message.replace(/\. To specify a positional argument.*$/s, '') : String(cause);
    throw invalid(said.replace(/\.?$/, '.'), cause);
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} cannot be read: ${(cause as Error).message}.`, {
      where: { file: path },
      hint: 'Give --text a file of plain text.',
      cause,
    });
  }
}

function invalid(message: string, cause?: unknown): LlmoptError {
  return new LlmoptError('LLMOPT_OPTION_INVALID', message, {
    hint: 'llmopt-larosa calibrate --help lists the options.',
    cause,
  });
}
