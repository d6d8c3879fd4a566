import type { Pipeline } from '@llmopt/core';
import { blockBootstrap } from '../statistics/bootstrap.ts';
import { mean, median, type Summary } from '../statistics/summary.ts';
import { compareRows, lossOf } from './compareRows.ts';
import { type TextOptions, walk, windowsOf, windowTokensOf } from './walk.ts';

export interface QualityOptions extends TextOptions {
  baseline: Pipeline;
  optimized: Pipeline;
  /** Of the bootstrap. Default 0. */
  seed?: number;
  onProgress?: (fraction: number) => void;
  signal?: AbortSignal;
}

/** How well one model foresees the text. `n` counts tokens. */
export interface Foresight {
  perplexity: Summary;
  bitsPerByte: Summary;
}

export interface QualityReport {
  /** Tokens whose probability was measured; every position of a window but its first. */
  scoredTokens: number;
  windows: number;
  windowTokens: number;
  baseline: Foresight;
  optimized: Foresight;
  /** Only where both models share a vocabulary; else their distributions cannot be compared. */
  comparison?: {
    /** Mean divergence of the optimised model from the baseline, in nats per token. */
    klDivergence: Summary;
    /** Share of positions at which both put the same token first. */
    topTokenAgreement: Summary;
    /** Perplexity of the optimised model over the baseline's, from the same tokens. */
    perplexityRatio: Summary;
  };
}

interface Losses {
  losses: number[];
  bytes: number;
}

/** Mean, median and bootstrapped interval of dependent samples, turned by a function that grows. */
export function bootstrapped(samples: readonly number[], seed: number, turn = (value: number) => value): Summary {
  const interval = blockBootstrap(samples, { seed });
  return {
    mean: turn(mean(samples)),
    median: turn(median(samples)),
    ci95: interval && [turn(interval[0]), turn(interval[1])],
    n: samples.length,
  };
}

function foresight({ losses, bytes }: Losses, seed: number): Foresight {
  return {
    perplexity: bootstrapped(losses, seed, Math.exp),
    bitsPerByte: bootstrapped(losses, seed, (loss) => (loss * losses.length) / (Math.LN2 * bytes)),
  };
}

/**
 * Measures what an optimisation costs: walks a text window by window with both models side by side and compares their
 * next-token distributions. Never holds more than one chunk of logits per model. All intervals are block bootstraps.
 * @throws LLMOPT_OPTION_INVALID for a text without two tokens, LLMOPT_ABORTED, and what `forward` throws.
 */
export async function evaluateQuality(options: QualityOptions): Promise<QualityReport> {
  const { baseline, optimized, seed = 0, signal, onProgress = () => {} } = options;
  const windows = windowsOf(baseline, options);
  const shape = { windows: windows.length, windowTokens: windowTokensOf(baseline, options) };
  const lossesA: Losses = { losses: [], bytes: 0 };
  const lossesB: Losses = { losses: [], bytes: 0 };

  if (baseline.tokenizer.checksum !== optimized.tokenizer.checksum) {
    for (const [index, [pipeline, into]] of (
      [
        [baseline, lossesA],
        [optimized, lossesB],
      ] as const
    ).entries()) {
      await walk([pipeline], {
        windows: windowsOf(pipeline, options),
        onRow: ([row], target) => {
          into.losses.push(lossOf(row as Float32Array, target));
          into.bytes += pipeline.tokenizer.bytes(target).length;
        },
        onProgress: (share) => onProgress((index + share) / 2),
        signal,
      });
    }
    return {
      scoredTokens: lossesA.losses.length,
      ...shape,
      baseline: foresight(lossesA, seed),
      optimized: foresight(lossesB, seed),
    };
  }

  const divergences: number[] = [];
  const agreements: number[] = [];
  await walk([baseline, optimized], {
    windows,
    onRow: ([a, b], target) => {
      const score = compareRows(a as Float32Array, b as Float32Array, target);
      const bytes = baseline.tokenizer.bytes(target).length;
      lossesA.losses.push(score.lossA);
      lossesA.bytes += bytes;
      lossesB.losses.push(score.lossB);
      lossesB.bytes += bytes;
      divergences.push(score.divergence);
      agreements.push(score.sameTop ? 1 : 0);
    },
    onProgress,
    signal,
  });
  const differences = lossesB.losses.map((loss, index) => loss - (lossesA.losses[index] as number));
  return {
    scoredTokens: divergences.length,
    ...shape,
    baseline: foresight(lossesA, seed),
    optimized: foresight(lossesB, seed),
    comparison: {
      klDivergence: bootstrapped(divergences, seed),
      topTokenAgreement: bootstrapped(agreements, seed),
      perplexityRatio: bootstrapped(differences, seed, Math.exp),
    },
  };
}
