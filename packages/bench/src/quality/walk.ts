import { LlmoptError, type Pipeline } from '@llmopt/core';
import { cutWindows, type Window } from './windows.ts';

/** Rows per forward: the logits of one such chunk are all that is ever held, for each model. */
const chunkRows = 64;
/** Bytes of a token are nearly always fewer; this only bounds how much of a long file is encoded. */
const charactersPerToken = 32;

export interface TextOptions {
  text: string;
  /** Tokens of the text to use, at most. */
  maxTokens: number;
  /** Tokens read from an empty cache. Default 512, or the context if that is shorter. */
  windowTokens?: number;
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

export interface Walk {
  windows: readonly Window[];
  /** The logits of all pipelines at one position, as views that hold until it returns, and the token that came next. */
  onRow(rows: readonly Float32Array[], target: number): void | Promise<void>;
  onProgress: (share: number) => void;
  signal?: AbortSignal | undefined;
}

/** Reads the windows with all pipelines side by side and hands over each scored row. */
export async function walk(
  pipelines: readonly Pipeline[],
  { windows, onRow, onProgress, signal }: Walk,
): Promise<void> {
  for (const [number, window] of windows.entries()) {
    for await (const { from, logits } of forwardChunks(pipelines, window)) {
      if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', 'The quality measurement was aborted.');
      const rows = Math.min(chunkRows, window.tokens.length - 1 - from);
      for (let row = Math.max(0, window.firstScoredRow - from); row < rows; row++) {
        const rowsOfAll = logits.map((all) => all.subarray((row * all.length) / rows, ((row + 1) * all.length) / rows));
        await onRow(rowsOfAll, window.tokens[from + row + 1] as number);
      }
      onProgress((number + (from + rows) / window.tokens.length) / windows.length);
    }
  }
}

/** What tells how a model reads a text. */
export type TextReader = Pick<Pipeline, 'tokenizer' | 'graph'>;

/** The text cut up as the model reads it. @throws LLMOPT_OPTION_INVALID for a text without two tokens */
export function windowsOf(pipeline: TextReader, options: TextOptions): Window[] {
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

export function windowTokensOf(pipeline: TextReader, options: Pick<TextOptions, 'windowTokens'> = {}): number {
  return Math.min(options.windowTokens ?? 512, pipeline.graph.config.contextLength);
}
