/** What one position tells about two models: how well each foresaw the next token, and how far apart they are. */
export interface RowScore {
  /** Negative log-likelihood of the target under the first model, in nats. */
  lossA: number;
  /** The same under the second model. */
  lossB: number;
  /** Kullback-Leibler divergence of the second model from the first, in nats. */
  divergence: number;
  /** Whether both put the same token first. */
  sameTop: boolean;
}

/**
 * Scores one position from the logits of two models, `[vocabulary]` each, as they come: neither is written to.
 * Two passes, no memory: the divergence is Σ pA·(a − b) − logΣA + logΣB, so no log-probability is ever stored.
 */
export function compareRows(a: Float32Array, b: Float32Array, target: number): RowScore {
  let maxA = Number.NEGATIVE_INFINITY;
  let maxB = Number.NEGATIVE_INFINITY;
  let topA = 0;
  let topB = 0;
  for (let token = 0; token < a.length; token++) {
    const logitA = a[token] as number;
    const logitB = b[token] as number;
    if (logitA > maxA) {
      maxA = logitA;
      topA = token;
    }
    if (logitB > maxB) {
      maxB = logitB;
      topB = token;
    }
  }
  let sumA = 0;
  let sumB = 0;
  let cross = 0;
  for (let token = 0; token < a.length; token++) {
    const logitA = a[token] as number;
    const logitB = b[token] as number;
    const weight = Math.exp(logitA - maxA);
    sumA += weight;
    sumB += Math.exp(logitB - maxB);
    // A logit of minus infinity has no weight; its difference would not be a number.
    if (weight > 0) cross += weight * (logitA - logitB);
  }
  const logSumA = maxA + Math.log(sumA);
  const logSumB = maxB + Math.log(sumB);
  return {
    lossA: logSumA - (a[target] as number),
    lossB: logSumB - (b[target] as number),
    // Rounding may leave a hair below zero for equal rows.
    divergence: Math.max(0, cross / sumA - logSumA + logSumB),
    sameTop: topA === topB,
  };
}

/** Negative log-likelihood of the target, in nats, from logits `[vocabulary]`. */
export function lossOf(logits: Float32Array, target: number): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let token = 0; token < logits.length; token++) max = Math.max(max, logits[token] as number);
  let sum = 0;
  for (let token = 0; token < logits.length; token++) sum += Math.exp((logits[token] as number) - max);
  return max + Math.log(sum) - (logits[target] as number);
}
