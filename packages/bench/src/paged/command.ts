import { type ArgsDef, type CommandDef, defineCommand } from 'citty';
import { numberFlag, numberListFlag, type ParsedFlags, textFlag } from '../flags.ts';
import { shapes } from '../kernels/shapes.ts';
import type { PagedOptions } from './paged.ts';

/** Arguments of `llmopt-bench paged`. */
export const pagedArgs = {
  shape: { type: 'string', valueHint: Object.keys(shapes).join('|'), description: 'Sizes of the model (135m)' },
  lengths: { type: 'string', valueHint: 'N,N', description: 'Tokens in the cache (256,1024,4096)' },
  rounds: { type: 'string', valueHint: 'N', description: 'Measurements of everything that is compared (30)' },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file (paged.json)' },
} as const satisfies ArgsDef;

/** Those of `pagedArgs` that may be given more than once. */
export const repeatablePagedArgs = ['lengths'];

export const pagedCommand: CommandDef = defineCommand({
  meta: { name: 'paged', description: 'Measure what attention through a block table costs against dense attention.' },
  args: pagedArgs as ArgsDef,
});

/** The options that a command line of `paged` stands for. @throws LLMOPT_OPTION_INVALID */
export function pagedOptions({ values }: ParsedFlags): PagedOptions {
  return {
    shape: textFlag(values, 'shape') as PagedOptions['shape'],
    lengths: numberListFlag(values, 'lengths'),
    rounds: numberFlag(values, 'rounds'),
    output: textFlag(values, 'output'),
  };
}
