import type { BenchmarkResult } from '@llmopt/schema';
import { points } from '../figures.ts';
import { page } from '../page.ts';
import { barPanel } from '../panels.ts';

export function peakMemoryPanel(result: BenchmarkResult) {
  return barPanel({
    title: 'Peak memory',
    subtitle: 'resident set of the process; less is better',
    unit: 'MB of 2²⁰ bytes',
    points: points(result, (arm) => arm.memory.peakMb),
  });
}

export function memoryComparison(result: BenchmarkResult) {
  return page('Memory', result, [
    [
      peakMemoryPanel(result),
      barPanel({
        title: 'Average memory',
        subtitle: 'resident set while a request runs',
        unit: 'MB of 2²⁰ bytes',
        points: points(result, (arm) => arm.memory.averageMb),
      }),
    ],
    [
      barPanel({
        title: 'KV cache',
        subtitle: 'memory that tokens have been written to',
        unit: 'MB of 2²⁰ bytes',
        points: points(result, (arm) => arm.memory.kvPeakMb),
      }),
      barPanel({
        title: 'Output per memory',
        subtitle: 'more is better',
        unit: 'tokens per MB of peak memory',
        points: points(result, (arm) => arm.memory.tokensPerMb),
      }),
    ],
  ]);
}
