import { open } from 'node:fs/promises';
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
const windowsFor = (pipeline: Pipeline, { text, positions }: PositionsOptions) =>
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
 * Compares a model with the logits that another one wrote down for the same text.
 * @throws LLMOPT_BENCH_FAILED if the file holds fewer positions, and what `forward` throws
 */
export async function compareLogits(pipeline: Pipeline, options: PositionsOptions): Promise<Divergences> {
  const { file, onProgress = () => {} } = options;
  await using handle = await open(file, 'r');
  const result: Divergences = { divergences: [], agreements: [] };
  let expected: Float32Array | undefined;
  await walk([pipeline], {
    windows: windowsFor(pipeline, options),
    async onRow([row], target) {
      const own = row as Float32Array;
      expected ??= new Float32Array(own.length);
      const { bytesRead } = await handle.read(bytesOf(expected), 0, expected.byteLength);
      if (bytesRead < expected.byteLength) {
        throw new LlmoptError(
          'LLMOPT_BENCH_FAILED',
          `The logits to compare with end after ${result.agreements.length} positions.`,
        );
      }
      const { divergence, sameTop } = compareRows(expected, own, target);
      result.divergences.push(divergence);
      result.agreements.push(sameTop ? 1 : 0);
    },
    onProgress,
  });
  return result;
}
