import { type FileHandle, open } from 'node:fs/promises';
import { LlmoptError, type Pipeline } from '@llmopt/core';
import { compareRows } from './compareRows.ts';
import { walk, windowsOf } from './walk.ts';
import { firstPositions } from './windows.ts';

/** Position by position, how far a model is from the one that wrote the logits down. */
export interface Divergences {
  /** KL divergence, in nats. */
  divergences: number[];
  /** 1 where both put the same token first, else 0. */
  agreements: number[];
  /** Negative log-likelihoods of the text's tokens, in nats: the model's, and those of the one that wrote. */
  losses: number[];
  expectedLosses: number[];
}

export interface PositionsOptions {
  text: string;
  /** Positions that are computed, from the first on; fewer if the text has no more. */
  positions: number;
  /** Path of the logits, float32 `[positions, vocabulary]`. */
  file: string;
  onProgress?: (fraction: number) => void;
}

// A window loses at most one token, and has at least two.
const windowsFor = (pipeline: Pipeline, { text, positions }: Pick<PositionsOptions, 'text' | 'positions'>) =>
  firstPositions(windowsOf(pipeline, { text, maxTokens: 2 * positions + 1 }), positions);

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/**
 * Writes a model's logits at the first positions of a text down, so that models that do not fit in one process can be compared.
 * Returns how many positions there are.
 * @throws LLMOPT_OPTION_INVALID for a text without two tokens, and what `forward` and writing throw
 */
export async function writeLogits(pipeline: Pipeline, options: PositionsOptions): Promise<number> {
  const { file, onProgress = () => {} } = options;
  await using handle = await open(file, 'w');
  let count = 0;
  await walk([pipeline], {
    windows: windowsFor(pipeline, options),
    async onRow([row]) {
      await handle.writeFile(bytesOf(row as Float32Array));
      count++;
    },
    onProgress,
  });
  return count;
}

/**
 * Compares a model with the logits that others wrote down for the same text: one answer per file.
 * @throws LLMOPT_BENCH_FAILED if a file holds fewer positions, and what `forward` throws
 */
export async function compareLogits(
  pipeline: Pipeline,
  { files, onProgress = () => {}, ...rest }: Omit<PositionsOptions, 'file'> & { files: readonly string[] },
): Promise<Divergences[]> {
  const others: { handle: FileHandle; result: Divergences }[] = [];
  let expected: Float32Array | undefined;
  try {
    for (const file of files) {
      const result = { divergences: [], agreements: [], losses: [], expectedLosses: [] };
      others.push({ handle: await open(file, 'r'), result });
    }
    await walk([pipeline], {
      windows: windowsFor(pipeline, rest),
      async onRow([row], target) {
        const own = row as Float32Array;
        expected ??= new Float32Array(own.length);
        for (const { handle, result } of others) {
          const { bytesRead } = await handle.read(bytesOf(expected), 0, expected.byteLength);
          if (bytesRead < expected.byteLength) {
            const positions = result.agreements.length;
            throw new LlmoptError(
              'LLMOPT_BENCH_FAILED',
              `The logits to compare with end after ${positions} positions.`,
            );
          }
          const { divergence, sameTop, lossA, lossB } = compareRows(expected, own, target);
          result.divergences.push(divergence);
          result.agreements.push(sameTop ? 1 : 0);
          result.losses.push(lossB);
          result.expectedLosses.push(lossA);
        }
      },
      onProgress,
    });
    return others.map(({ result }) => result);
  } finally {
    await Promise.all(others.map(({ handle }) => handle.close()));
  }
}
