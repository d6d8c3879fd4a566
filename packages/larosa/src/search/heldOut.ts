import { LlmoptError, type Pipeline } from '@llmopt/core';

type Reader = Pick<Pipeline, 'forward' | 'acquireSlot' | 'releaseSlot' | 'graph'>;

interface Control {
  readonly onProgress?: (fraction: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** What the dense model foresees in a text that calibration did not read. */
export interface HeldOut {
  readonly tokens: readonly number[];
  /** Tokens per sequence. */
  readonly window: number;
  /** Every so many rows are compared. */
  readonly stride: number;
  /** Of those rows, `[rows, vocabulary]`. */
  readonly probabilities: Float32Array;
  /** Σ p · log p of each. */
  readonly logProbabilities: Float64Array;
}

// Rows per forward.
const ROWS = 64;
/** Of probabilities that are kept. */
const LARGEST_BYTES = 2 ** 29;

/** @throws LLMOPT_ABORTED, LLMOPT_SLOTS_EXHAUSTED */
export async function readDense(
  pipeline: Reader,
  tokens: readonly number[],
  window: number,
  control: Control = {},
): Promise<HeldOut> {
  const { vocabularySize } = pipeline.graph.config;
  const stride = Math.max(1, Math.ceil((tokens.length * vocabularySize * 4) / LARGEST_BYTES));
  const rows = Math.floor(tokens.length / stride);
  const probabilities = new Float32Array(rows * vocabularySize);
  const logProbabilities = new Float64Array(rows);
  await eachRow(pipeline, { tokens, window, stride }, control, (row, logits) => {
    const { largest, sum } = exponentials(logits);
    const logSum = largest + Math.log(sum);
    const at = row * vocabularySize;
    for (let i = 0; i < vocabularySize; i++) {
      const logP = logits[i]! - logSum;
      const p = Math.exp(logP);
      probabilities[at + i] = p;
      if (p > 0) logProbabilities[row]! += p * logP;
    }
  });
  return { tokens, window, stride, probabilities, logProbabilities };
}

/** The Kullback-Leibler divergence of a model from the dense one in each row, in nats. @throws LLMOPT_ABORTED, LLMOPT_SLOTS_EXHAUSTED */
export async function divergences(pipeline: Reader, dense: HeldOut, control: Control = {}): Promise<Float64Array> {
  const { probabilities, logProbabilities } = dense;
  const out = new Float64Array(logProbabilities.length);
  await eachRow(pipeline, dense, control, (row, logits) => {
    const { largest, sum } = exponentials(logits);
    let mean = 0;
    for (let i = 0, at = row * logits.length; i < logits.length; i++, at++) mean += probabilities[at]! * logits[i]!;
    out[row] = Math.max(0, logProbabilities[row]! - mean + largest + Math.log(sum));
  });
  return out;
}

function exponentials(logits: Float32Array): { largest: number; sum: number } {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return { largest, sum };
}

/** Reads the text window by window, and hands over the logits of every so many rows, the last of each stretch. */
async function eachRow(
  pipeline: Reader,
  { tokens, window, stride }: Pick<HeldOut, 'tokens' | 'window' | 'stride'>,
  { onProgress, signal }: Control,
  take: (row: number, logits: Float32Array) => void,
): Promise<void> {
  for (let start = 0; start < tokens.length; start += window) {
    const end = Math.min(start + window, tokens.length);
    const slot = pipeline.acquireSlot();
    if (slot === undefined) throw new LlmoptError('LLMOPT_SLOTS_EXHAUSTED', 'The search found every slot taken.');
    try {
      for (let at = start; at < end; at += ROWS) {
        signal?.throwIfAborted();
        const rows = Array.from({ length: Math.min(ROWS, end - at) }, (_, row) => row);
        const compared = rows.filter((row) => (at + row) % stride === stride - 1);
        const { logits } = await pipeline.forward({
          tokens: rows.map((row) => tokens[at + row]!),
          slots: rows.map(() => slot),
          positions: rows.map((row) => at - start + row),
          logits: compared,
        });
        const width = logits.length / Math.max(1, compared.length);
        for (const [i, row] of compared.entries()) {
          take((at + row - (stride - 1)) / stride, logits.subarray(i * width, (i + 1) * width));
        }
        onProgress?.((at + rows.length) / tokens.length);
      }
    } finally {
      pipeline.releaseSlot(slot);
    }
  }
}
