export * from './benchmarkResult.ts';
export * from './errors.ts';
