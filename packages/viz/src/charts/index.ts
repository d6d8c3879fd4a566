import type { BenchmarkResult, ServeResult, SweepResult } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { comprehensiveDashboard } from './dashboard.ts';
import { improvements } from './improvements.ts';
import { kvMemory } from './kvMemory.ts';
import { latency } from './latency.ts';
import { memoryComparison } from './memoryComparison.ts';
import { pareto } from './pareto.ts';
import { timeComparison } from './timeComparison.ts';
import { tokenComparison } from './tokenComparison.ts';

/** Every chart by the name of its file. */
export const charts: Readonly<Record<string, (result: BenchmarkResult) => TopLevelSpec>> = {
  time_comparison: timeComparison,
  token_comparison: tokenComparison,
  memory_comparison: memoryComparison,
  improvements,
  comprehensive_dashboard: comprehensiveDashboard,
};

/** The same of a sweep. */
export const sweepCharts: Readonly<Record<string, (result: SweepResult) => TopLevelSpec>> = { pareto };

/** The same of a replay. */
export const serveCharts: Readonly<Record<string, (result: ServeResult) => TopLevelSpec>> = {
  kv_memory: kvMemory,
  latency,
};
