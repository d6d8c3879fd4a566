import { seededRandom } from './random.ts';
import type { SamplingOptions, TokenLogProb } from './types.ts';

/** Chooses tokens from logits. */
export interface Sampler {
  /** Changes `logits` in place. `tokens` are those of the sequence so far. */
  sample(logits: Float32Array, tokens: readonly number[]): number;
}

/** Tokens that can be drawn, in the order in which they are, with e^((logit - largest) / temperature). Only the first `count` mean something. */
interface Candidates {
  ids: Int32Array;
  weights: Float64Array;
  count: number;
}

/** Repetition penalty, temperature, top-k, top-p and min-p, in this order; temperature 0 takes the most likely token. */
export function createSampler(options: SamplingOptions): Sampler {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const random = seededRandom(seed);
  const candidates: Candidates = { ids: new Int32Array(0), weights: new Float64Array(0), count: 0 };
  return {
    sample(logits, tokens) {
      if (repetitionPenalty !== 1) penalize(logits, tokens, repetitionPenalty);
      if (temperature === 0) return largestIndex(logits);
      if (candidates.ids.length !== logits.length) {
        candidates.ids = new Int32Array(logits.length);
        candidates.weights = new Float64Array(logits.length);
      }
      const largest = logits[largestIndex(logits)]!;
      // p >= minP · the largest p, of logits.
      const least = minP > 0 ? largest + temperature * Math.log(minP) : -Infinity;
      if (topK > 0 && topK < logits.length) takeLargest(candidates, logits, least, topK);
      else takeAll(candidates, logits, least);
      weigh(candidates, logits, largest, temperature);
      if (topP < 1) keepNucleus(candidates, topP);
      return draw(candidates, random());
    },
  };
}

/** Index of the largest number; the first of equals. */
export function largestIndex(values: Float32Array): number {
  let best = 0;
  let largest = values[0]!;
  for (let i = 1; i < values.length; i++) {
    const value = values[i]!;
    if (value > largest) {
      largest = value;
      best = i;
    }
  }
  return best;
}

/** Log-probability of a token and of the `count` most likely ones, before any sampling rule. */
export function logProbsOf(logits: Float32Array, token: number, count: number): TokenLogProb {
  const largest = logits[largestIndex(logits)]!;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const norm = largest + Math.log(sum);
  const top: { token: number; logProb: number }[] = [];
  for (let id = 0; id < logits.length && count > 0; id++) {
    const logProb = logits[id]! - norm;
    if (top.length === count && logProb <= top[count - 1]!.logProb) continue;
    const at = top.findIndex((other) => logProb > other.logProb);
    top.splice(at < 0 ? top.length : at, 0, { token: id, logProb });
    if (top.length > count) top.pop();
  }
  return { token, logProb: logits[token]! - norm, top };
}

function penalize(logits: Float32Array, tokens: readonly number[], penalty: number): void {
  for (const token of new Set(tokens)) {
    const logit = logits[token]!;
    logits[token] = logit > 0 ? logit / penalty : logit * penalty;
  }
}

function takeAll(candidates: Candidates, logits: Float32Array, least: number): void {
  const { ids } = candidates;
  let count = 0;
  for (let id = 0; id < logits.length; id++) if (logits[id]! >= least) ids[count++] = id;
  candidates.count = count;
}

/** The `most` largest, in descending order, the first of equals first. A vocabulary is not sorted: nearly all of it is passed over. */
function takeLargest(candidates: Candidates, logits: Float32Array, least: number, most: number): void {
  const { ids } = candidates;
  let count = 0;
  let floor = -Infinity;
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (logit < least || (count === most && logit <= floor)) continue;
    let low = 0;
    for (let high = count; low < high; ) {
      const middle = (low + high) >> 1;
      if (logits[ids[middle]!]! >= logit) low = middle + 1;
      else high = middle;
    }
    count = Math.min(count + 1, most);
    ids.copyWithin(low + 1, low, count - 1);
    ids[low] = id;
    floor = logits[ids[count - 1]!]!;
  }
  candidates.count = count;
}

function weigh({ ids, weights, count }: Candidates, logits: Float32Array, largest: number, temperature: number): void {
  for (let i = 0; i < count; i++) weights[i] = Math.exp((logits[ids[i]!]! - largest) / temperature);
}

// Sorting a whole vocabulary is slow: the likely few nearly always hold the nucleus, and where they do not, all are sorted.
function keepNucleus(candidates: Candidates, topP: number): void {
  const { ids, weights, count } = candidates;
  const wanted = topP * sumOf(candidates);
  // The largest weight is 1.
  for (const floor of [1e-3, 0]) {
    const sorted: { id: number; weight: number }[] = [];
    for (let i = 0; i < count; i++) if (weights[i]! >= floor) sorted.push({ id: ids[i]!, weight: weights[i]! });
    sorted.sort((a, b) => b.weight - a.weight || a.id - b.id);
    let sum = 0;
    const end = sorted.findIndex(({ weight }) => {
      sum += weight;
      return sum >= wanted;
    });
    if (end < 0) continue;
    for (let i = 0; i <= end; i++) {
      ids[i] = sorted[i]!.id;
      weights[i] = sorted[i]!.weight;
    }
    candidates.count = end + 1;
    return;
  }
}

function sumOf({ weights, count }: Candidates): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += weights[i]!;
  return sum;
}

function draw(candidates: Candidates, uniform: number): number {
  const { ids, weights, count } = candidates;
  let rest = uniform * sumOf(candidates);
  for (let i = 0; i < count; i++) {
    rest -= weights[i]!;
    if (rest < 0) return ids[i]!;
  }
  return ids[count - 1]!;
}
