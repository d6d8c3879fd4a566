import { performance } from 'node:perf_hooks';

/** A request as an engine gets it. */
export interface ReplayRequest {
  /** When it is due, from the start. */
  atMs: number;
  prompt: readonly number[];
  newTokens: number;
}

/** What became of a request; times from the start of the replay. */
export interface ReplayRecord {
  /** When it was due: where a new one comes as soon as an earlier one is done, when it was handed over. */
  dueMs: number;
  /** When it was handed to the engine. */
  startMs: number;
  endMs: number;
  promptTokens: number;
  /** When each token came. */
  tokenTimesMs: number[];
  /** Code or message of its error. */
  failure?: string;
}

/** Writes so many tokens behind a prompt, and tells when each came, from the call. */
export type Generate = (request: ReplayRequest) => Promise<readonly number[]>;

export interface ReplayOptions {
  /** The most requests in flight; others wait until one is done. */
  concurrency: number;
  /** Whether `atMs` counts. */
  timed: boolean;
  onProgress?: (fraction: number) => void;
}

const failureOf = (error: unknown) => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : error instanceof Error ? error.message : String(error);
};

/** Sends requests to an engine in their order. A request that fails is recorded, and the others go on. */
export async function replay(
  generate: Generate,
  requests: readonly ReplayRequest[],
  { concurrency, timed, onProgress }: ReplayOptions,
): Promise<{ records: ReplayRecord[]; wallMs: number }> {
  const began = performance.now();
  const elapsed = () => performance.now() - began;
  const records: ReplayRecord[] = [];
  let next = 0;
  let done = 0;
  const runOne = async (request: ReplayRequest, index: number): Promise<void> => {
    const startMs = elapsed();
    const { prompt, atMs } = request;
    const record = { dueMs: timed ? atMs : startMs, startMs, promptTokens: prompt.length };
    try {
      const tokenTimesMs = (await generate(request)).map((time) => startMs + time);
      records[index] = { ...record, endMs: elapsed(), tokenTimesMs };
    } catch (error) {
      records[index] = { ...record, endMs: elapsed(), tokenTimesMs: [], failure: failureOf(error) };
    }
    onProgress?.(++done / requests.length);
  };
  const client = async (): Promise<void> => {
    for (let index = next++; index < requests.length; index = next++) {
      const request = requests[index] as ReplayRequest;
      const waitMs = timed ? request.atMs - elapsed() : 0;
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      await runOne(request, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, requests.length) }, client));
  return { records, wallMs: elapsed() };
}
