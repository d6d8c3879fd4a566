import { buildGraph, LlmoptError, openCheckpoint, tokenizerFrom } from '@llmopt/core';
import { bundledQualityText, readText } from '../options.ts';
import type { ServeSettings } from './options.ts';
import type { ReplayRequest } from './replay.ts';
import { readTrace, writeTrace } from './trace.ts';
import { cutPrompts, seededWorkload, type TraceRequest } from './workload.ts';

const defaultContextLength = 4096;
const defaultRequests = 32;

export interface Workload {
  requests: ReplayRequest[];
  contextLength: number;
  arrivals: string;
  /** Whether requests come when they are due, and not as soon as an earlier one is done. */
  timed: boolean;
}

async function traceOf(settings: ServeSettings, contextLength: number): Promise<TraceRequest[]> {
  const { trace, requests } = settings;
  const given = trace === undefined ? undefined : await readTrace(trace);
  if (given) return given.slice(0, requests);
  const seeded = seededWorkload({ ...settings, requests: requests ?? defaultRequests, contextLength });
  if (trace !== undefined) await writeTrace(trace, seeded);
  return seeded;
}

/**
 * The requests of a run with their prompts, which are pieces of the bundled text. Reads headers and tokenizer of the model, no weights.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_PROMPT_TOO_LONG, LLMOPT_WRITE_FAILED and what reading the file throws
 */
export async function requestsFor(file: string, settings: ServeSettings): Promise<Workload> {
  const checkpoint = await openCheckpoint(file);
  try {
    const trained = buildGraph(checkpoint).config.contextLength;
    const contextLength = settings.contextLength ?? Math.min(trained, defaultContextLength);
    const trace = await traceOf(settings, contextLength);
    for (const [index, { promptTokens, newTokens }] of trace.entries()) {
      if (promptTokens + newTokens <= contextLength) continue;
      throw new LlmoptError(
        'LLMOPT_PROMPT_TOO_LONG',
        `Request ${index + 1} has ${promptTokens} tokens; with ${newTokens} new ones it exceeds the context of ${contextLength}.`,
        { hint: 'Give a longer --context-length, or shorter requests.' },
      );
    }
    const tokenizer = await tokenizerFrom(checkpoint);
    const prompts = cutPrompts(trace, tokenizer.encode(await readText(bundledQualityText)));
    const requests = trace.map(({ atMs, newTokens }, index) => ({
      atMs,
      newTokens,
      prompt: prompts[index] as number[],
    }));
    const isTrace = settings.trace !== undefined && trace.some(({ atMs }) => atMs > 0);
    const { arrivals } = settings;
    const name = arrivals === 'closed' ? (isTrace ? 'trace' : 'closed') : `poisson:${arrivals.perSecond}`;
    return { requests, contextLength, arrivals: name, timed: name !== 'closed' };
  } finally {
    await checkpoint.close();
  }
}
