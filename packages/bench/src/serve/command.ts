import { type ArgsDef, type CommandDef, defineCommand } from 'citty';
import { modelArg, precisionArg, threadsArg, vattentionArg } from '../commonArgs.ts';
import { listFlag, numberFlag, numberListFlag, type ParsedFlags, textFlag, textOrOff } from '../flags.ts';
import { vattentionChoice } from '../vattentionFlag.ts';
import type { ServeOptions } from './options.ts';
import { policyNames } from './policies/names.ts';

/** Arguments of `llmopt-bench serve`. */
export const serveArgs = {
  ...modelArg,
  concurrency: {
    type: 'string',
    valueHint: 'N,N',
    description: 'Requests in flight at once, a replay for each (1,4,8)',
  },
  arrivals: {
    type: 'string',
    valueHint: 'closed|poisson:RATE',
    description: 'When requests come: as soon as one is done, or so many per second (closed)',
  },
  requests: { type: 'string', valueHint: 'N', description: 'Requests of a replay (32, or all of the trace)' },
  trace: {
    type: 'string',
    valueHint: 'FILE',
    description: 'Requests, a JSON object per line; written if there is no such file (none)',
  },
  'prompt-tokens': { type: 'string', valueHint: 'N', description: 'Tokens of every prompt (short and long ones)' },
  'new-tokens': { type: 'string', valueHint: 'N', description: 'Tokens of every output (short and long ones)' },
  policy: {
    type: 'string',
    valueHint: policyNames.join('|'),
    description: 'How keys and values are kept (fixed,vattention)',
  },
  ...vattentionArg,
  'kv-budget-bytes': { type: 'string', valueHint: 'N', description: 'Physical bytes for keys and values (no limit)' },
  kv: { type: 'string', valueHint: 'float32|int16', description: 'Type of keys and values (float32)' },
  'context-length': { type: 'string', valueHint: 'N', description: 'Tokens that a slot is reserved for (4096)' },
  slots: { type: 'string', valueHint: 'N', description: 'Slots of the cache (as many as requests in flight)' },
  ...threadsArg,
  ...precisionArg,
  seed: { type: 'string', valueHint: 'N', description: 'Seed of the workload and of the intervals (0)' },
  peer: { type: 'string', valueHint: 'node-llama-cpp', description: 'Also measure this engine (none)' },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file (serve.json)' },
  plots: { type: 'string', valueHint: 'FOLDER', description: 'Folder for the charts (benchmark_plots)' },
  'no-plots': { type: 'boolean', description: 'Draw no charts' },
} as const satisfies ArgsDef;

/** Those of `serveArgs` that may be given more than once. */
export const repeatableServeArgs = ['concurrency', 'policy', 'peer'];

export const serveCommand: CommandDef = defineCommand({
  meta: {
    name: 'serve',
    description: 'Replay many requests at once: throughput, latency, and memory of keys and values.',
  },
  args: serveArgs as ArgsDef,
});

/** The options that a command line of `serve` stands for. @throws LLMOPT_OPTION_INVALID */
export function serveOptions({ values }: ParsedFlags): ServeOptions {
  return {
    model: textFlag(values, 'model'),
    concurrency: numberListFlag(values, 'concurrency'),
    arrivals: textFlag(values, 'arrivals'),
    requests: numberFlag(values, 'requests'),
    trace: textFlag(values, 'trace'),
    promptTokens: numberFlag(values, 'prompt-tokens'),
    newTokens: numberFlag(values, 'new-tokens'),
    policies: listFlag(values, 'policy') as ServeOptions['policies'],
    vattention: vattentionChoice(values),
    kvBudgetBytes: numberFlag(values, 'kv-budget-bytes'),
    kv: textFlag(values, 'kv') as ServeOptions['kv'],
    contextLength: numberFlag(values, 'context-length'),
    slots: numberFlag(values, 'slots'),
    threads: numberFlag(values, 'threads'),
    precision: textFlag(values, 'precision') as ServeOptions['precision'],
    seed: numberFlag(values, 'seed'),
    peers: listFlag(values, 'peer') as ServeOptions['peers'],
    output: textFlag(values, 'output'),
    plots: textOrOff(values, 'plots'),
  };
}
