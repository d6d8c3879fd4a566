import * as z from 'zod';
import { benchmarkResultSchema, figureSchema } from './benchmarkResult.ts';
import { ResultError } from './errors.ts';

const amount = z.number().nonnegative();
const count = z.int().nonnegative();

/** A percentile with its interval, a bootstrap over requests; null where there are too few. */
export const quantileSchema = z.looseObject({
  value: amount,
  ci95: z.tuple([amount, amount]).nullable(),
});

/** Times in milliseconds, over so many samples. */
export const latencySchema = z.looseObject({
  p50: quantileSchema,
  p90: quantileSchema,
  p99: quantileSchema,
  mean: amount,
  n: z.int().positive(),
});

/** Memory at a time, in bytes. Those of the cache are absent where the engine does not tell. */
export const memorySampleSchema = z.looseObject({
  atMs: amount.describe('from the start of the replay'),
  reservedBytes: amount.optional().describe('address space of the cache'),
  committedBytes: amount.optional().describe("memory of the cache by the policy's own books"),
  liveBytes: amount.optional().describe('memory of the tokens of running sequences'),
  residentBytes: amount.optional().describe('resident memory of the cache, as the operating system says'),
  processBytes: amount.describe('resident set of the process'),
});

/** A request and what became of it; times from the start of the replay. */
export const servedRequestSchema = z.looseObject({
  dueMs: amount,
  startMs: amount,
  endMs: amount,
  promptTokens: z.int().positive(),
  outputTokens: count,
  timeToFirstTokenMs: amount.optional().describe('from when it was due'),
  failure: z.string().optional().describe('code or message of its error'),
});

/** The workload under one policy, or on another engine, with so many requests in flight. */
export const serveRunSchema = z.looseObject({
  name: z.string().min(1).describe('of the policy or the engine'),
  kind: z.enum(['policy', 'peer']),
  concurrency: z.int().positive().describe('the most requests in flight'),
  slots: z.int().positive(),
  loadSeconds: amount,
  wallSeconds: amount,
  throughput: z.looseObject({
    outputTokensPerSecond: amount,
    totalTokensPerSecond: amount.describe('prompts and outputs'),
    requestsPerSecond: amount,
    decodeTokensPerSecond: figureSchema
      .optional()
      .describe('of all sequences together, while as many as may be in flight decode and no prompt is read'),
  }),
  timeToFirstTokenMs: latencySchema.optional(),
  interTokenMs: latencySchema.optional().describe('between two tokens of a request'),
  interTokenWhilePrefillMs: latencySchema
    .optional()
    .describe('the same while a prompt of at least 512 tokens of another request was read'),
  mostHeld: count.optional().describe('the most sequences that held keys and values at once'),
  memory: z.looseObject({
    processBytesBefore: amount.describe('resident set before the first request'),
    samples: z.array(memorySampleSchema),
  }),
  metrics: z.record(z.string(), z.number()).describe('figures that plugins report about themselves'),
  failures: z.record(z.string(), z.int().positive()).describe('requests that failed, by code'),
  requests: z.array(servedRequestSchema),
});

/** The result of `llmopt-bench serve`, version 1. Unknown keys are kept, so that the format can grow. */
export const serveResultSchema = z.looseObject({
  kind: z.literal('serve'),
  schemaVersion: z.literal(1),
  createdAt: z.iso.datetime(),
  incomplete: z.boolean().optional().describe('true marks an interrupted run'),
  system: benchmarkResultSchema.shape.system,
  model: benchmarkResultSchema.shape.model,
  settings: z.looseObject({
    contextLength: z.int().positive(),
    requests: z.int().positive(),
    arrivals: z.string().describe('closed, poisson:RATE in requests per second, or trace'),
    seed: z.int(),
    precision: z.string(),
    kv: z.string().describe('type of keys and values'),
    threads: z.int().positive(),
    kvBudgetBytes: z.number().positive().optional(),
    vattention: z.record(z.string(), z.unknown()).optional().describe('options of vattention'),
  }),
  runs: z.array(serveRunSchema),
});

export type Quantile = z.infer<typeof quantileSchema>;
export type Latency = z.infer<typeof latencySchema>;
export type ServedRequest = z.infer<typeof servedRequestSchema>;
export type ServeRun = z.infer<typeof serveRunSchema>;
export type ServeResult = z.infer<typeof serveResultSchema>;

/**
 * Checks the result of `serve`, as `JSON.parse` returns it, and gives it its type.
 * @throws {ResultError} code LLMOPT_RESULT_INVALID, naming every key that is wrong.
 */
export function parseServeResult(value: unknown): ServeResult {
  const parsed = serveResultSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ResultError(
    'LLMOPT_RESULT_INVALID',
    `not the result of a replay of version 1:\n${z.prettifyError(parsed.error)}`,
    { cause: parsed.error },
  );
}

/** Whether a parsed JSON file says that it is the result of `serve`. */
export const isServe = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'serve';
