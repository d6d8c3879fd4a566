import type { BenchmarkResult } from '@llmopt/schema';
import { overRuns, points } from '../figures.ts';
import { page } from '../page.ts';
import { barPanel } from '../panels.ts';

export function tokenComparison(result: BenchmarkResult) {
  return page('Tokens per request', result, [
    [
      barPanel({
        title: 'Input tokens',
        subtitle: 'for the same prompts; less is better',
        unit: 'tokens',
        points: points(result, (arm) => arm.tokens.input),
      }),
      barPanel({
        title: 'Output tokens',
        subtitle: 'fixed in timed runs',
        unit: 'tokens',
        points: points(result, (arm) => arm.tokens.output),
      }),
    ],
    [
      barPanel({
        title: 'Text per token',
        subtitle: 'more is better',
        unit: 'characters per output token',
        points: points(result, (arm) => overRuns(arm, ({ characters, outputTokens }) => characters / outputTokens)),
      }),
      barPanel({
        title: 'Length of the responses',
        subtitle: 'untimed answers, which stop at the end token',
        unit: 'characters',
        points: points(result, (arm) => arm.quality.responseLength),
      }),
    ],
  ]);
}
