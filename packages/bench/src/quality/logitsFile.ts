import { open } from 'node:fs/promises';
import { LlmoptError, type Pipeline } from '@llmopt/core';
import { compareRows, lossOf } from './compareRows.ts';
import { addScore, type Divergences, noDivergences } from './divergences.ts';
import { type LogitsReader, openLogits } from './logitsReader.ts';
import { type TextReader, walk, windowsOf } from './walk.ts';
import { firstPositions } from './windows.ts';

export interface PositionsOptions {
  text: string;
  /** Positions that are computed, from the first on; fewer if the text has no more. */
  positions: number;
  /** Path of the logits, float32 `[positions, vocabulary]`. */
  file: string;
  onProgress?: (fraction: number) => void;
}

/** What is walked for so many positions. @throws LLMOPT_OPTION_INVALID for a text without two tokens */
export const windowsFor = (pipeline: TextReader, { text, positions }: Pick<PositionsOptions, 'text' | 'positions'>) =>
  // A window loses at most one token, and has at least two.
  firstPositions(windowsOf(pipeline, { text, maxTokens: 2 * positions + 1 }), positions);

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/**
 * Writes a model's logits at the first positions of a text down, so that models that do not fit in one process can be compared.
 * Returns the negative log-likelihood of the text's token at each position, in nats.
 * @throws LLMOPT_OPTION_INVALID for a text without two tokens, and what `forward` and writing throw
 */
export async function writeLogits(pipeline: Pipeline, options: PositionsOptions): Promise<number[]> {
  const { file, onProgress = () => {} } = options;
  await using handle = await open(file, 'w');
  const losses: number[] = [];
  await walk([pipeline], {
    windows: windowsFor(pipeline, options),
    async onRow([row], target) {
      await handle.writeFile(bytesOf(row as Float32Array));
      losses.push(lossOf(row as Float32Array, target));
    },
    onProgress,
  });
  return losses;
}

/**
 * Compares a model with the logits that others wrote down for the same text: one answer per file.
 * @throws LLMOPT_BENCH_FAILED if a file holds fewer positions, and what `forward` throws
 */
export async function compareLogits(
  pipeline: Pipeline,
  { files, onProgress = () => {}, ...rest }: Omit<PositionsOptions, 'file'> & { files: readonly string[] },
): Promise<Divergences[]> {
  const others: { reader: LogitsReader; result: Divergences }[] = [];
  let expected: Float32Array | undefined;
  try {
    for (const file of files) others.push({ reader: await openLogits(file), result: noDivergences() });
    await walk([pipeline], {
      windows: windowsFor(pipeline, rest),
      async onRow([row], target) {
        const own = row as Float32Array;
        expected ??= new Float32Array(own.length);
        for (const { reader, result } of others) {
          if (!(await reader.next(expected))) {
            const positions = result.agreements.length;
            throw new LlmoptError(
              'LLMOPT_BENCH_FAILED',
              `The logits to compare with end after ${positions} positions.`,
            );
          }
          addScore(result, compareRows(expected, own, target));
        }
      },
      onProgress,
    });
    return others.map(({ result }) => result);
  } finally {
    await Promise.all(others.map(({ reader }) => reader.close()));
  }
}
