import * as z from 'zod';
import { ResultError } from './errors.ts';

const amount = z.number().nonnegative();
const count = z.int().nonnegative();

/** A figure with samples, in the unit of its key; `ci95` is [low, high], null when `n` < 2. */
export const figureSchema = z.looseObject({
  mean: z.number(),
  median: z.number(),
  ci95: z.tuple([z.number(), z.number()]).nullable(),
  n: z.int().positive(),
});

/** One timed run of one prompt; sizes in MB of 2^20 bytes, times in the unit of their name. */
export const runSchema = z.looseObject({
  promptIndex: count,
  runIndex: count,
  totalSeconds: amount,
  timeToFirstTokenMs: amount,
  timePerOutputTokenMs: amount,
  prefillTokensPerSecond: amount,
  inputTokens: count,
  outputTokens: count,
  characters: count,
  peakMb: amount,
  averageMb: amount,
});

/** Where the time of a decode step goes: `steps` steps of `stepMilliseconds` each, split over `entries`. */
export const profileSchema = z.looseObject({
  stepMilliseconds: amount,
  steps: count,
  entries: z.array(z.looseObject({ kind: z.string(), layer: z.int(), milliseconds: amount })),
});

/** One contestant and its figures. */
export const armSchema = z.looseObject({
  name: z.string().min(1),
  kind: z.enum(['baseline', 'optimized', 'peer']),
  plugins: z.array(z.string()),
  time: z.looseObject({
    totalSeconds: figureSchema,
    tokensPerSecond: figureSchema,
    timeToFirstTokenMs: figureSchema,
    timePerOutputTokenMs: figureSchema,
    prefillTokensPerSecond: figureSchema,
    loadSeconds: figureSchema,
  }),
  tokens: z.looseObject({ input: figureSchema, output: figureSchema, total: figureSchema }),
  memory: z.looseObject({
    peakMb: figureSchema,
    averageMb: figureSchema,
    tokensPerMb: figureSchema,
    kvPeakMb: figureSchema.optional(),
  }),
  quality: z.looseObject({
    responseLength: figureSchema,
    perplexity: figureSchema.optional(),
    bitsPerByte: figureSchema.optional(),
    klDivergence: figureSchema.optional(),
    topTokenAgreement: figureSchema.optional(),
  }),
  metrics: z.record(z.string(), figureSchema).optional(),
  responses: z.array(z.looseObject({ prompt: z.string(), text: z.string() })),
  runs: z.array(runSchema),
  profile: profileSchema.optional(),
});

const triedSchema = z.looseObject({
  name: z.string(),
  options: z.looseObject({ threads: z.int().optional(), poolThreads: z.int().optional() }),
  decodeTokensPerSecond: amount.optional(),
  prefillTokensPerSecond: amount.optional(),
  failure: z.string().optional().describe('why there are no figures'),
});

/** Another engine's arm, on a file of its own. Its runs are paired with those of the other arms. */
export const peerSchema = z.looseObject({
  name: z.string().min(1),
  kind: z.literal('peer'),
  package: z.string(),
  version: z.string(),
  file: z.string(),
  quantization: z.string(),
  settings: z.looseObject({ name: z.string() }).describe('what the timed runs used'),
  settingsTried: z.array(triedSchema).describe('every setting that was tried before, with its median speed'),
  best: z.looseObject({ decode: triedSchema, prefill: triedSchema }).describe('the fastest of them, in each respect'),
  time: armSchema.shape.time,
  tokens: armSchema.shape.tokens,
  memory: armSchema.shape.memory,
  responses: armSchema.shape.responses,
  runs: armSchema.shape.runs,
});

/** What the paired runs show; 'no difference shown' where the interval spans 1, or there is none. */
export const verdictSchema = z.enum(['faster', 'slower', 'no difference shown']);

/** A paired ratio of baseline to optimized (1 = no change, above 1 = better) with its verdict. */
export const ratioSchema = figureSchema.extend({ verdict: verdictSchema });

/** The baseline against another engine: above 1 where the baseline is faster. */
export const peerComparisonSchema = z.looseObject({
  name: z.string().min(1),
  decodeSpeedup: ratioSchema,
  prefillSpeedup: ratioSchema,
  timeToFirstTokenSpeedup: ratioSchema,
  endToEndSpeedup: ratioSchema,
});

/** The optimized arm against the baseline; the `Pct` figures are per cent, positive is better. */
export const comparisonSchema = z.looseObject({
  decodeSpeedup: ratioSchema,
  endToEndSpeedup: ratioSchema,
  charactersPerSecondGain: ratioSchema,
  timeReductionPct: figureSchema,
  throughputGainPct: figureSchema,
  tokenReductionPct: figureSchema,
  memoryReductionPct: figureSchema,
  peers: z.array(peerComparisonSchema).optional(),
});

/** The result of llmopt-bench, version 1. Unknown keys are kept, so that the format can grow. */
export const benchmarkResultSchema = z.looseObject({
  schemaVersion: z.literal(1),
  createdAt: z.iso.datetime(),
  incomplete: z.boolean().optional().describe('true marks an interrupted run'),
  system: z.looseObject({
    cpu: z.string(),
    cores: z.int().positive(),
    memoryBytes: z.int().positive(),
    node: z.string(),
    platform: z.string(),
    memoryBandwidthGBs: z.number().positive().optional(),
  }),
  model: z.looseObject({
    name: z.string(),
    architecture: z.string(),
    parameters: count,
    file: z.string(),
    quantization: z.string(),
  }),
  settings: z.looseObject({
    prompts: count,
    maxNewTokens: count,
    runs: count,
    warmup: count,
    seed: z.int(),
    backend: z.string(),
    backendSettings: z
      .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
      .optional()
      .describe('what the backend says of itself, such as precision, mode and device, or executionProviders'),
    threads: z.int().positive(),
  }),
  arms: z.array(armSchema).min(1),
  peers: z.array(peerSchema).optional(),
  skippedPeers: z
    .array(z.looseObject({ name: z.string(), reason: z.string() }))
    .optional()
    .describe('engines that were asked for but could not take part'),
  comparison: comparisonSchema.optional().describe('absent when a run was interrupted, or has one arm'),
});

export type Figure = z.infer<typeof figureSchema>;
export type Run = z.infer<typeof runSchema>;
export type Profile = z.infer<typeof profileSchema>;
export type Arm = z.infer<typeof armSchema>;
export type Peer = z.infer<typeof peerSchema>;
export type PeerComparison = z.infer<typeof peerComparisonSchema>;
export type Verdict = z.infer<typeof verdictSchema>;
export type Ratio = z.infer<typeof ratioSchema>;
export type Comparison = z.infer<typeof comparisonSchema>;
export type BenchmarkResult = z.infer<typeof benchmarkResultSchema>;

/**
 * Checks a benchmark result, as `JSON.parse` returns it, and gives it its type.
 * @throws {ResultError} code LLMOPT_RESULT_INVALID, naming every key that is wrong.
 */
export function parseBenchmarkResult(value: unknown): BenchmarkResult {
  const parsed = benchmarkResultSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ResultError(
    'LLMOPT_RESULT_INVALID',
    `not a benchmark result of version 1:\n${z.prettifyError(parsed.error)}`,
    { cause: parsed.error },
  );
}
