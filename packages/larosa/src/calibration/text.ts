import { createHash } from 'node:crypto';
import { LlmoptError, type Pipeline, seededRandom } from '@llmopt/core';
import type { CalibrationSettings } from './calibration.ts';

type Writer = Pick<Pipeline, 'tokenizer' | 'generate' | 'graph'>;

/** How the settings name a text. */
export const textName = (text: string) => (text === 'self' ? text : createHash('sha256').update(text).digest('hex'));

/**
 * The tokens to calibrate on: the first of a text, or what the model writes.
 * @throws LLMOPT_CALIBRATION_TOO_SHORT, LLMOPT_ABORTED
 */
export function calibrationTokens(
  pipeline: Writer,
  text: string,
  settings: CalibrationSettings,
  control: { onProgress?: (fraction: number) => void; signal?: AbortSignal | undefined },
): Promise<readonly number[]> | readonly number[] {
  if (text === 'self') return writtenBySelf(pipeline, settings, control);
  const tokens = pipeline.tokenizer.encode(text);
  if (tokens.length >= settings.tokens) return tokens.slice(0, settings.tokens);
  throw new LlmoptError(
    'LLMOPT_CALIBRATION_TOO_SHORT',
    `The text to calibrate on holds ${tokens.length} tokens; ${settings.tokens} were asked for.`,
    { hint: "Give more text, ask for fewer tokens, or calibrate on 'self': text that the model writes." },
  );
}

/** Sequences of the model's own, each from another random token on, by its own probabilities. */
async function writtenBySelf(
  { tokenizer, generate, graph }: Writer,
  { tokens: count, window, seed }: CalibrationSettings,
  { onProgress, signal }: { onProgress?: (fraction: number) => void; signal?: AbortSignal | undefined },
): Promise<readonly number[]> {
  const random = seededRandom(seed);
  const starts = Array.from({ length: Math.ceil(count / window) }, () => firstToken(random, tokenizer, graph));
  let done = 0;
  const sequences: number[][] = [];
  // The pipeline runs as many at once as it has slots for.
  let next = 0;
  const lane = async () => {
    for (let i = next++; i < starts.length; i = next++) {
      const length = Math.min(window, count - i * window);
      const { tokens } =
        length > 1
          ? await generate([starts[i]!], {
              ...{ maxNewTokens: length - 1, temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1 },
              ...{ seed: seed + i, ignoreEndToken: true, ...(signal && { signal }) },
            })
          : { tokens: [] };
      sequences[i] = [starts[i]!, ...tokens];
      done += length;
      onProgress?.(done / count);
    }
  };
  await Promise.all(Array.from({ length: 4 }, lane));
  return sequences.flat();
}

function firstToken(random: () => number, tokenizer: Writer['tokenizer'], graph: Writer['graph']): number {
  const size = Math.min(tokenizer.vocabularySize, graph.config.vocabularySize);
  for (;;) {
    const token = Math.floor(random() * size);
    if (tokenizer.bytes(token).length > 0) return token;
  }
}
