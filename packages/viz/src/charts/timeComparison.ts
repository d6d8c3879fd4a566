import type { BenchmarkResult } from '@llmopt/schema';
import { points } from '../figures.ts';
import { page } from '../page.ts';
import { barPanel } from '../panels.ts';

export function decodePanel(result: BenchmarkResult) {
  return barPanel({
    title: 'Decode speed',
    subtitle: 'more is better',
    unit: 'tokens per second',
    points: points(result, (arm) => arm.time.tokensPerSecond),
  });
}

export function firstTokenPanel(result: BenchmarkResult) {
  return barPanel({
    title: 'Time to first token',
    subtitle: 'less is better',
    unit: 'milliseconds',
    points: points(result, (arm) => arm.time.timeToFirstTokenMs),
  });
}

export function timeComparison(result: BenchmarkResult) {
  return page('Time per request', result, [
    [
      barPanel({
        title: 'Time per output token',
        subtitle: 'less is better',
        unit: 'milliseconds',
        points: points(result, (arm) => arm.time.timePerOutputTokenMs),
      }),
      decodePanel(result),
    ],
    [
      firstTokenPanel(result),
      barPanel({
        title: 'Whole request',
        subtitle: 'less is better',
        unit: 'seconds',
        points: points(result, (arm) => arm.time.totalSeconds),
      }),
    ],
  ]);
}
