import { type ArgsDef, type CommandDef, defineCommand } from 'citty';
import type { BackendsOptions } from './backends/options.ts';
import { modelArg, precisionArg, threadsArg, vattentionArg } from './commonArgs.ts';
import { listFlag, numberFlag, numberListFlag, type ParsedFlags, textFlag, textOrOff } from './flags.ts';
import type { KernelsOptions } from './kernels/options.ts';
import { shapes } from './kernels/shapes.ts';
import { larosaArgs, larosaChoice, larosaChoices, parseMethods } from './larosaFlags.ts';
import { type BenchmarkOptions, readPrompts } from './options.ts';
import { pagedCommand } from './paged/command.ts';
import { peerNames } from './peers/names.ts';
import { serveCommand } from './serve/command.ts';
import type { SweepOptions } from './sweep/options.ts';
import { vattentionChoice } from './vattentionFlag.ts';

/** Arguments of all that times prompts, with the defaults that they say. */
const runArgs = ({ maxNewTokens, runs, threads }: { maxNewTokens: number; runs: number; threads: string }) =>
  ({
    prompts: {
      type: 'string',
      valueHint: 'FILE',
      description: 'Prompts: one per line, or a JSON array (four built-in ones)',
    },
    'max-new-tokens': { type: 'string', valueHint: 'N', description: `Tokens per timed run (${maxNewTokens})` },
    runs: { type: 'string', valueHint: 'N', description: `Timed runs of every prompt (${runs})` },
    warmup: { type: 'string', valueHint: 'N', description: 'Rounds before the timed ones, dropped (1)' },
    threads: { type: 'string', valueHint: 'N', description: threads },
    seed: { type: 'string', valueHint: 'N', description: 'Seed of the intervals of quality (0)' },
  }) as const satisfies ArgsDef;

/** What `runArgs` stand for. @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND */
async function runOptions(values: ParsedFlags['values']) {
  const prompts = textFlag(values, 'prompts');
  return {
    maxNewTokens: numberFlag(values, 'max-new-tokens'),
    runs: numberFlag(values, 'runs'),
    warmup: numberFlag(values, 'warmup'),
    threads: numberFlag(values, 'threads'),
    seed: numberFlag(values, 'seed'),
    ...(prompts !== undefined && { prompts: await readPrompts(prompts) }),
  };
}

/** Arguments of `llmopt-bench diff A.json B.json`. */
export const diffArgs = {
  a: { type: 'positional', description: 'The result to compare with' },
  b: { type: 'positional', description: 'The result in question' },
  'fail-below': {
    type: 'string',
    valueHint: 'RATIO',
    description: "Exit with 1 if the optimised arm's decode speed-up in B is surely below this share of A's",
  },
} as const satisfies ArgsDef;

export const diffCommand: CommandDef = defineCommand({
  meta: { name: 'diff', description: 'Compare two result files: B against A.' },
  args: diffArgs as ArgsDef,
});

/** Arguments of `llmopt-bench kernels`. */
export const kernelsArgs = {
  ...modelArg,
  shape: {
    type: 'string',
    valueHint: Object.keys(shapes).join('|'),
    description: 'A model with random weights of this shape instead',
  },
  ...threadsArg,
  rows: { type: 'string', valueHint: 'N,N', description: 'Streams that decode at once (1,2,3,8)' },
  prompt: { type: 'string', valueHint: 'N', description: 'Tokens in the cache while decoding (128)' },
  larosa: {
    type: 'string',
    valueHint: 'SHARE,SHARE',
    description: 'Sparsities to compare with the dense model (none)',
  },
  rounds: { type: 'string', valueHint: 'N', description: 'Measurements of everything that is compared (15)' },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file (kernels.json)' },
} as const satisfies ArgsDef;

/** Those of `kernelsArgs` that may be given more than once. */
export const repeatableKernelsArgs = ['rows', 'larosa'];

export const kernelsCommand: CommandDef = defineCommand({
  meta: { name: 'kernels', description: 'Measure what the kernels make of the memory and the processor.' },
  args: kernelsArgs as ArgsDef,
});

/** The options that a command line of `kernels` stands for. @throws LLMOPT_OPTION_INVALID */
export function kernelsOptions({ values }: ParsedFlags): KernelsOptions {
  return {
    model: textFlag(values, 'model'),
    shape: textFlag(values, 'shape') as KernelsOptions['shape'],
    threads: numberFlag(values, 'threads'),
    rows: numberListFlag(values, 'rows'),
    prompt: numberFlag(values, 'prompt'),
    larosa: numberListFlag(values, 'larosa'),
    rounds: numberFlag(values, 'rounds'),
    output: textFlag(values, 'output'),
  };
}

/** Arguments of `llmopt-bench backends`. */
export const backendsArgs = {
  model: {
    type: 'string',
    valueHint: 'NAME|PATH',
    description: 'GGUF file, folder, or model name (smollm2-135m)',
  },
  'larosa-sparsity': { type: 'string', valueHint: 'SHARE', description: 'Run all of them with LaRoSA (without)' },
  ...runArgs({ maxNewTokens: 64, runs: 3, threads: 'Threads of wasm and onnx (all cores)' }),
  quality: { type: 'string', valueHint: 'TEXTFILE', description: 'Text to compare logits on (a built-in one)' },
  'quality-tokens': { type: 'string', valueHint: 'N', description: 'Positions of it to compare at (256)' },
  'request-seconds': {
    type: 'string',
    valueHint: 'S',
    description: 'Slower backends get fewer tokens, outside the pairs (10)',
  },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file (backends.json)' },
} as const satisfies ArgsDef;

export const backendsCommand: CommandDef = defineCommand({
  meta: { name: 'backends', description: 'Run one model on every backend that works here, and compare them.' },
  args: backendsArgs as ArgsDef,
});

/** The options that a command line of `backends` stands for. @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND */
export async function backendsOptions({ values }: ParsedFlags): Promise<BackendsOptions> {
  return {
    model: textFlag(values, 'model'),
    larosaSparsity: numberFlag(values, 'larosa-sparsity'),
    ...(await runOptions(values)),
    quality: textFlag(values, 'quality'),
    qualityTokens: numberFlag(values, 'quality-tokens'),
    requestSeconds: numberFlag(values, 'request-seconds'),
    output: textFlag(values, 'output'),
  };
}

/** Arguments of `llmopt-bench sweep`. */
export const sweepArgs = {
  ...modelArg,
  'larosa-sparsity': { type: 'string', valueHint: 'SHARE,SHARE', description: 'Sparsities (0,0.25,0.4,0.5,0.6)' },
  'equal-bytes': {
    type: 'string',
    valueHint: 'SHARE,SHARE',
    description: 'Find the sparsities at which a method reads as much as Top-K at these (none)',
  },
  ...larosaArgs,
  'larosa-method': {
    type: 'string',
    valueHint: 'OPTION=VALUE+...',
    description: 'A method beside the combinations of the flags above; name=... names it',
  },
  text: { type: 'string', valueHint: 'FILE', description: 'Text to measure quality on (a built-in one)' },
  'quality-tokens': { type: 'string', valueHint: 'N', description: 'Positions of it to compare at (20000)' },
  ...runArgs({ maxNewTokens: 64, runs: 3, threads: 'Threads (all cores)' }),
  ...precisionArg,
  peer: {
    type: 'string',
    valueHint: 'node-llama-cpp',
    description: 'Also measure an engine on the file itself (none)',
  },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file, which the sweep goes on with (sweep.json)' },
  plots: { type: 'string', valueHint: 'FOLDER', description: 'Folder for the chart (benchmark_plots)' },
  'no-plots': { type: 'boolean', description: 'Draw no chart' },
} as const satisfies ArgsDef;

/** Those of `sweepArgs` that may be given more than once. */
export const repeatableSweepArgs = ['larosa-sparsity', 'equal-bytes', 'larosa-method', 'peer'];

export const sweepCommand: CommandDef = defineCommand({
  meta: { name: 'sweep', description: 'Measure methods of LaRoSA: bytes and time per token against quality.' },
  args: sweepArgs as ArgsDef,
});

/** The options that a command line of `sweep` stands for. @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND */
export async function sweepOptions({ values }: ParsedFlags): Promise<SweepOptions> {
  const written = textFlag(values, 'larosa-method');
  const isSaid = Object.keys(larosaArgs).some((flag) => values[flag] !== undefined);
  const combinations = isSaid || written === undefined ? larosaChoices(values).map((options) => ({ options })) : [];
  return {
    model: textFlag(values, 'model'),
    sparsities: numberListFlag(values, 'larosa-sparsity'),
    equalBytes: numberListFlag(values, 'equal-bytes'),
    methods: [...combinations, ...(written === undefined ? [] : parseMethods(written))],
    text: textFlag(values, 'text'),
    qualityTokens: numberFlag(values, 'quality-tokens'),
    ...(await runOptions(values)),
    precision: textFlag(values, 'precision') as SweepOptions['precision'],
    peers: listFlag(values, 'peer') as BenchmarkOptions['peers'],
    output: textFlag(values, 'output'),
    plots: textOrOff(values, 'plots'),
  };
}

/** Arguments of `llmopt-bench [options]`. citty describes them and writes the usage; `parseFlags` reads them. */
export const benchArgs = {
  model: { type: 'string', valueHint: 'NAME|PATH', description: 'Model to run (smollm2-135m)' },
  'larosa-sparsity': {
    type: 'string',
    valueHint: 'SHARE',
    description: 'Share of inputs the optimised arm drops (0.4)',
  },
  ...larosaArgs,
  ...vattentionArg,
  ...runArgs({ maxNewTokens: 128, runs: 5, threads: 'Threads per arm, on wasm and onnx (all cores)' }),
  backend: { type: 'string', valueHint: 'wasm|reference|gpu|onnx', description: 'What computes (wasm)' },
  precision: { type: 'string', valueHint: 'int8|float32', description: 'Weights of the wasm backend (int8)' },
  quality: { type: 'string', valueHint: 'TEXTFILE', description: 'Text to measure quality on (a built-in one)' },
  'quality-tokens': {
    type: 'string',
    valueHint: 'N',
    description: 'Tokens of it to use (4096; gpu and reference 512)',
  },
  'no-quality': { type: 'boolean', description: 'Measure no quality' },
  peer: {
    type: 'string',
    valueHint: peerNames.join('|'),
    description: 'Another engine to measure beside them; may be repeated (none)',
  },
  profile: { type: 'boolean', description: 'Also measure time per op kind and layer' },
  output: { type: 'string', valueHint: 'FILE', description: 'Result file (benchmark_results.json)' },
  plots: { type: 'string', valueHint: 'FOLDER', description: 'Folder for the charts (benchmark_plots)' },
  'no-plots': { type: 'boolean', description: 'Draw no charts' },
} as const satisfies ArgsDef;

/** Those of `benchArgs` that may be given more than once. */
export const repeatableArgs = ['peer'];

export const benchCommand: CommandDef = defineCommand({
  meta: {
    name: 'llmopt-bench',
    description: 'Run a model as it is and optimised, side by side, and tell what it gains and costs.',
  },
  args: benchArgs as ArgsDef,
  subCommands: {
    backends: backendsCommand,
    diff: diffCommand,
    kernels: kernelsCommand,
    paged: pagedCommand,
    serve: serveCommand,
    sweep: sweepCommand,
  },
});

/** The options that a command line stands for. @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND */
export async function benchmarkOptions({ values }: ParsedFlags): Promise<BenchmarkOptions> {
  return {
    model: textFlag(values, 'model'),
    larosaSparsity: numberFlag(values, 'larosa-sparsity'),
    larosa: larosaChoice(values),
    vattention: vattentionChoice(values),
    ...(await runOptions(values)),
    backend: textFlag(values, 'backend') as BenchmarkOptions['backend'],
    precision: textFlag(values, 'precision') as BenchmarkOptions['precision'],
    quality: textOrOff(values, 'quality'),
    qualityTokens: numberFlag(values, 'quality-tokens'),
    peers: listFlag(values, 'peer') as BenchmarkOptions['peers'],
    profile: values.profile === true,
    output: textFlag(values, 'output'),
    plots: textOrOff(values, 'plots'),
  };
}
