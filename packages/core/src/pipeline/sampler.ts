import { seededRandom } from './random.ts';
import type { SamplingOptions, TokenLogProb } from './types.ts';

/** Chooses tokens from logits. */
export interface Sampler {
  /** Changes `logits` in place. `tokens` are those of the sequence so far. */
  sample(logits: Float32Array, tokens: readonly number[]): number;
}

/** Repetition penalty, temperature, top-k, top-p and min-p, in this order; temperature 0 takes the most likely token. */
export function createSampler(options: SamplingOptions): Sampler {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = options;
  const random = seededRandom(seed);
  let probabilities = new Float64Array(0);
  return {
    sample(logits, tokens) {
      if (repetitionPenalty !== 1) penalize(logits, tokens, repetitionPenalty);
      if (temperature === 0) return largestIndex(logits);
      if (probabilities.length !== logits.length) probabilities = new Float64Array(logits.length);
      softmax(logits, temperature, probabilities);
      let candidates = likelyIndices(probabilities, minP);
      if (topK > 0 && topK < candidates.length) candidates = descending(candidates, probabilities).slice(0, topK);
      if (topP < 1) candidates = nucleus(candidates, probabilities, topP);
      return draw(candidates, probabilities, random());
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

function softmax(logits: Float32Array, temperature: number, target: Float64Array): void {
  const largest = logits[largestIndex(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) {
    target[i] = Math.exp((logits[i]! - largest) / temperature);
    sum += target[i]!;
  }
  for (let i = 0; i < logits.length; i++) target[i]! /= sum;
}

function likelyIndices(probabilities: Float64Array, minP: number): number[] {
  let largest = 0;
  for (const p of probabilities) largest = Math.max(largest, p);
  const indices: number[] = [];
  for (let i = 0; i < probabilities.length; i++) if (probabilities[i]! >= minP * largest) indices.push(i);
  return indices;
}

const descending = (indices: number[], probabilities: Float64Array) =>
  indices.sort((a, b) => probabilities[b]! - probabilities[a]! || a - b);

// Sorting a whole vocabulary is slow: the likely few nearly always hold the nucleus, and where they do not, all are sorted.
function nucleus(candidates: number[], probabilities: Float64Array, topP: number): number[] {
  const total = candidates.reduce((sum, i) => sum + probabilities[i]!, 0);
  let largest = 0;
  for (const i of candidates) largest = Math.max(largest, probabilities[i]!);
  for (const floor of [largest * 1e-3, 0]) {
    const sorted = descending(
      candidates.filter((i) => probabilities[i]! >= floor),
      probabilities,
    );
    let sum = 0;
    const end = sorted.findIndex((i) => {
      sum += probabilities[i]!;
      return sum >= topP * total;
    });
    if (end >= 0) return sorted.slice(0, end + 1);
  }
  return candidates;
}

function draw(candidates: readonly number[], probabilities: Float64Array, uniform: number): number {
  let rest = uniform * candidates.reduce((sum, i) => sum + probabilities[i]!, 0);
  for (const i of candidates) {
    rest -= probabilities[i]!;
    if (rest < 0) return i;
  }
  return candidates[candidates.length - 1]!;
}
