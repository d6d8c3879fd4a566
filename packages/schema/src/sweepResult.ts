import * as z from 'zod';
import { benchmarkResultSchema, figureSchema, ratioSchema } from './benchmarkResult.ts';
import { ResultError } from './errors.ts';

/** How far a model is from another one, over the same positions of a text; intervals are block bootstraps. */
export const distanceSchema = z.looseObject({
  klDivergence: figureSchema.describe('mean divergence from the other model, in nats per token'),
  topTokenAgreement: figureSchema.describe('share of positions at which both put the same token first'),
  perplexityRatio: figureSchema.describe('perplexity over that of the other model'),
});

/** A way to run the model: dense, with LaRoSA, or another engine. */
export const sweepPointSchema = z.looseObject({
  name: z.string().min(1).describe('unique in its sweep'),
  kind: z.enum(['dense', 'larosa', 'peer']),
  method: z.string().min(1).describe('points of one method make a line'),
  precision: z.string().optional().describe('of the weights, where this project computes'),
  sparsity: z.number().min(0).lt(1).optional(),
  equalBytes: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe('the sparsity of Top-K whose bytes its sparsity was found for'),
  options: z.record(z.string(), z.unknown()).optional().describe('of larosa'),
  calibrationChecksum: z.string().optional(),
  weightBytesPerToken: z
    .number()
    .positive()
    .describe('of all weights that a decode step reads: layers, adapters, head'),
  perplexity: figureSchema.optional(),
  toFloat32: distanceSchema
    .optional()
    .describe('from the dense float32 model; of another engine over the first positions of the text only'),
  toDense: distanceSchema.optional().describe('from the dense model of the same precision'),
  time: z
    .looseObject({
      timePerOutputTokenMs: figureSchema,
      decodeSpeedup: ratioSchema.optional().describe('against `baseline`, from paired, interleaved runs'),
    })
    .optional(),
});

/** The result of `llmopt-bench sweep`, version 1. Unknown keys are kept, so that the format can grow. */
export const sweepResultSchema = z.looseObject({
  kind: z.literal('sweep'),
  schemaVersion: z.literal(1),
  createdAt: z.iso.datetime(),
  incomplete: z.boolean().optional().describe('true while points are missing'),
  system: benchmarkResultSchema.shape.system,
  model: benchmarkResultSchema.shape.model,
  settings: z.looseObject({
    precision: z.string(),
    threads: z.int().positive(),
    qualityTokens: z.int().positive(),
    prompts: z.int().positive(),
    maxNewTokens: z.int().positive(),
    runs: z.int().positive(),
    warmup: z.int().nonnegative(),
    seed: z.int(),
  }),
  baseline: z.string().describe('name of the point that the speed-ups are against'),
  points: z.array(sweepPointSchema),
});

export type Distance = z.infer<typeof distanceSchema>;
export type SweepPoint = z.infer<typeof sweepPointSchema>;
export type SweepResult = z.infer<typeof sweepResultSchema>;

/**
 * Checks the result of a sweep, as `JSON.parse` returns it, and gives it its type.
 * @throws {ResultError} code LLMOPT_RESULT_INVALID, naming every key that is wrong.
 */
export function parseSweepResult(value: unknown): SweepResult {
  const parsed = sweepResultSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ResultError(
    'LLMOPT_RESULT_INVALID',
    `not the result of a sweep of version 1:\n${z.prettifyError(parsed.error)}`,
    { cause: parsed.error },
  );
}

/** Whether a parsed JSON file says that it is the result of a sweep. */
export const isSweep = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'sweep';
