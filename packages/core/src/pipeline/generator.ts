import type { SamplingDefaults } from '../checkpoint/generationConfig.ts';
import { LlmoptError } from '../errors.ts';
import type { Driver } from '../plugin/driver.ts';
import type { GenerateRequest } from '../plugin/plugin.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { checkGenerateOptions, withDefaults } from './generateOptions.ts';
import { createSampler, logProbsOf } from './sampler.ts';
import type { Scheduler } from './scheduler.ts';
import { createTextBuilder } from './textBuilder.ts';
import type { FinishReason, GenerateOptions, GenerateResult, Timings, TokenLogProb } from './types.ts';

export type Generate = (
  prompt: string | readonly number[],
  options: GenerateOptions,
  onText: (piece: string) => void,
) => Promise<GenerateResult>;

const DEFAULT_MAX_NEW_TOKENS = 256;

/** From a prompt to a result: checks, the plugins' `generate` hooks, then the scheduler. */
export function createGenerator(
  scheduler: Scheduler,
  driver: Driver,
  tokenizer: Tokenizer,
  defaults: SamplingDefaults,
  capacity: number,
  vocabularySize: number,
): Generate {
  return async (prompt, options, onText) => {
    const began = performance.now();
    checkGenerateOptions(options);
    const tokens = typeof prompt === 'string' ? tokenizer.encode(prompt) : [...prompt];
    return driver.onion({ prompt: tokens, options: withDefaults(options, defaults) }, (request) =>
      runRequest(request, began, onText),
    );
  };

  async function runRequest(
    { prompt, options }: GenerateRequest,
    began: number,
    onText: (piece: string) => void,
  ): Promise<GenerateResult> {
    checkPrompt(prompt);
    const { maxNewTokens = DEFAULT_MAX_NEW_TOKENS, stop = [], ignoreEndToken = false, logProbs, signal } = options;
    if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', 'The call was aborted.', { cause: signal.reason });
    const sampler = createSampler(options);
    const text = createTextBuilder(tokenizer.streamDecoder(), stop);
    const tokens: number[] = [];
    const tokenTimesMs: number[] = [];
    const tokenLogProbs: TokenLogProb[] = [];
    let finishReason: FinishReason | undefined;

    const end = await scheduler.run({
      prompt,
      signal,
      choose(logits, sequence) {
        const original = logProbs === undefined ? undefined : logits.slice();
        const token = sampler.sample(logits, sequence.tokens);
        tokenTimesMs.push(performance.now() - began);
        if (!ignoreEndToken && tokenizer.stopTokens.has(token)) {
          finishReason = 'endToken';
          return { token: undefined, last: true };
        }
        tokens.push(token);
        if (original) tokenLogProbs.push(logProbsOf(original, token, logProbs!));
        const { piece, stopped } = text.push(token);
        if (piece !== '') onText(piece);
        if (stopped) finishReason = 'stopString';
        else if (tokens.length === maxNewTokens) finishReason = 'length';
        return { token, last: finishReason !== undefined };
      },
    });
    const { piece } = text.end();
    if (piece !== '') onText(piece);
    return {
      text: text.text,
      tokens,
      finishReason: end === 'contextFull' ? 'contextFull' : finishReason!,
      usage: { inputTokens: prompt.length, outputTokens: tokens.length, totalTokens: prompt.length + tokens.length },
      timings: timingsOf(tokenTimesMs, prompt.length, performance.now() - began),
      ...(logProbs === undefined ? {} : { logProbs: tokenLogProbs }),
    };
  }

  function checkPrompt(prompt: readonly number[]): void {
    if (prompt.length === 0) {
      throw new LlmoptError('LLMOPT_PROMPT_EMPTY', 'The prompt holds no token.', {
        hint: 'Give it some text, or the begin-of-sequence token.',
      });
    }
    if (prompt.length >= capacity) {
      throw new LlmoptError(
        'LLMOPT_PROMPT_TOO_LONG',
        `The prompt has ${prompt.length} tokens; the context holds ${capacity}, with room for at least one more.`,
        {
          hint: 'Shorten the prompt or raise contextLength.',
        },
      );
    }
    for (const token of prompt) {
      if (!Number.isInteger(token) || token < 0 || token >= vocabularySize) {
        throw new LlmoptError(
          'LLMOPT_TOKEN_INVALID',
          `The prompt holds token ${token}; ids go from 0 to ${vocabularySize - 1}.`,
        );
      }
    }
  }
}

function timingsOf(tokenTimesMs: number[], inputTokens: number, totalMs: number): Timings {
  const first = tokenTimesMs[0]!;
  const last = tokenTimesMs[tokenTimesMs.length - 1]!;
  return {
    timeToFirstTokenMs: first,
    timePerOutputTokenMs: (last - first) / (tokenTimesMs.length - 1),
    prefillTokensPerSecond: (inputTokens / first) * 1000,
    totalMs,
    tokenTimesMs,
  };
}
