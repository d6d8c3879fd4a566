import { createRandom } from '../statistics/random.ts';

/** A request of a workload, before anybody has a tokenizer. */
export interface TraceRequest {
  /** When it comes, from the start; 0 for all where a new request comes as soon as an earlier one is done. */
  atMs: number;
  promptTokens: number;
  newTokens: number;
  /** Chooses the piece of text that its prompt is cut from. */
  seed: number;
}

/** `closed`: a new request comes as soon as an earlier one is done. Else so many per second, at random. */
export type Arrivals = 'closed' | { perSecond: number };

export interface WorkloadOptions {
  requests: number;
  arrivals: Arrivals;
  seed: number;
  contextLength: number;
  /** All prompts of this length. Default: log-normal around `medianPromptTokens`. */
  promptTokens?: number | undefined;
  /** All outputs of this length. Default: geometric with the mean `meanNewTokens`. */
  newTokens?: number | undefined;
}

/** Of the prompts' lengths, where the context is at least eight times as long. */
export const medianPromptTokens = 300;
/** Of the logarithm of the lengths: one prompt in a hundred has more than ten times the median. */
const promptSpread = 1;
export const longestPromptTokens = 4000;
/** Of the outputs' lengths, where the context is at least sixteen times as long. */
export const meanNewTokens = 64;
const longestNewTokens = 1024;

const clamp = (value: number, low: number, high: number) => Math.min(Math.max(Math.round(value), low), high);

/** The same seed gives the same requests: short and long prompts mixed, short and long outputs. */
export function seededWorkload(options: WorkloadOptions): TraceRequest[] {
  const { requests, arrivals, seed, contextLength } = options;
  const random = createRandom(seed);
  // Never 0, whose logarithm is infinite.
  const uniform = () => 1 - random();
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * random());
  const median = Math.min(medianPromptTokens, contextLength / 8);
  const mean = Math.min(meanNewTokens, contextLength / 16);
  let atMs = 0;
  return Array.from({ length: requests }, () => {
    const drawnNew = Math.log(uniform()) / Math.log(1 - 1 / Math.max(mean, 1.5));
    const newTokens = options.newTokens ?? clamp(drawnNew, 2, Math.min(longestNewTokens, contextLength / 2));
    const drawnPrompt = median * Math.exp(promptSpread * normal());
    const room = Math.min(longestPromptTokens, contextLength - newTokens);
    const promptTokens = options.promptTokens ?? clamp(drawnPrompt, 1, room);
    if (arrivals !== 'closed') atMs += (-Math.log(uniform()) / arrivals.perSecond) * 1000;
    return { atMs: Math.round(atMs), promptTokens, newTokens, seed: Math.floor(random() * 2 ** 32) };
  });
}

/** The ids of every prompt: a piece of the text from a place that its seed says, and on from the beginning where the text ends. */
export function cutPrompts(requests: readonly TraceRequest[], text: readonly number[]): number[][] {
  return requests.map(({ promptTokens, seed }) => {
    const start = Math.floor(createRandom(seed)() * text.length);
    return Array.from({ length: promptTokens }, (_, index) => text[(start + index) % text.length] as number);
  });
}
