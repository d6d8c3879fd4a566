import { LlmoptError, type Pipeline } from '@llmopt/core';
import { blockBootstrap } from '../statistics/bootstrap.ts';
import { mean, median, type Summary } from '../statistics/summary.ts';
import { compareRows, lossOf } from './compareRows.ts';
import { cutWindows, type Window } from './windows.ts';

/** Rows per forward: the logits of one such chunk are all that is ever held, for each model. */
const chunkRows = 64;
/** Bytes of a token are nearly always fewer; this only bounds how much of a long file is encoded. */
const charactersPerToken = 32;

export interface QualityOptions {
  baseline: Pipeline;
  optimized: Pipeline;
  text: string;
  /** Tokens of the text to use, at most. */
  maxTokens: number;
  /** Tokens read from an empty cache. Default 512, or the context if that is shorter. */
  windowTokens?: number;
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

async function* forwardChunks(
  pipelines: readonly Pipeline[],
  window: Window,
): AsyncGenerator<{ from: number; logits: Float32Array[] }> {
  const slots: (number | undefined)[] = pipelines.map((pipeline) => pipeline.acquireSlot());
  try {
    if (slots.includes(undefined)) {
      throw new LlmoptError('LLMOPT_SLOTS_EXHAUSTED', 'No slot is free to measure quality in.', {
        hint: 'End running streams first.',
      });
    }
    // The last token is only foretold, so it is not read.
    const rows = window.tokens.length - 1;
    for (let from = 0; from < rows; from += chunkRows) {
      const tokens = window.tokens.slice(from, Math.min(from + chunkRows, rows));
      const indices = tokens.map((_, index) => index);
      const logits: Float32Array[] = [];
      for (const [index, pipeline] of pipelines.entries()) {
        const result = await pipeline.forward({
          tokens,
          slots: tokens.map(() => slots[index] as number),
          positions: indices.map((row) => from + row),
          logits: indices,
        });
        logits.push(result.logits);
      }
      yield { from, logits };
    }
  } finally {
    for (const [index, slot] of slots.entries()) if (slot !== undefined) pipelines[index]?.releaseSlot(slot);
  }
}

interface Walk {
  windows: readonly Window[];
  onRow(rows: readonly Float32Array[], target: number): void;
  onProgress: (share: number) => void;
  signal: AbortSignal | undefined;
}

/** Reads the windows with all pipelines side by side and hands over each scored row. */
async function walk(pipelines: readonly Pipeline[], { windows, onRow, onProgress, signal }: Walk): Promise<void> {
  for (const [number, window] of windows.entries()) {
    for await (const { from, logits } of forwardChunks(pipelines, window)) {
      if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', 'The quality measurement was aborted.');
      const rows = Math.min(chunkRows, window.tokens.length - 1 - from);
      for (let row = Math.max(0, window.firstScoredRow - from); row < rows; row++) {
        const rowsOfAll = logits.map((all) => all.subarray((row * all.length) / rows, ((row + 1) * all.length) / rows));
        onRow(rowsOfAll, window.tokens[from + row + 1] as number);
      }
      onProgress((number + (from + rows) / window.tokens.length) / windows.length);
    }
  }
}

function windowsOf(pipeline: Pipeline, options: QualityOptions): Window[] {
  const ids = pipeline.tokenizer.encode(options.text.slice(0, options.maxTokens * charactersPerToken), {
    addBos: false,
  });
  const windowTokens = windowTokensOf(pipeline, options);
  const windows = cutWindows(ids.slice(0, options.maxTokens), windowTokens, pipeline.tokenizer.encode(''));
  if (windows.length > 0) return windows;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    'The quality text is too short: it holds no token that could be foretold.',
    {
      hint: 'Give a text of at least two tokens, or --no-quality.',
    },
  );
}

function windowTokensOf(pipeline: Pipeline, options: QualityOptions): number {
  return Math.min(options.windowTokens ?? 512, pipeline.graph.config.contextLength);
}

/** Mean, median and bootstrapped interval of dependent samples, turned by a function that grows. */
function bootstrapped(samples: readonly number[], seed: number, turn = (value: number) => value): Summary {
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
