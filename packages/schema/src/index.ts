export * from './benchmarkResult.ts';
export * from './errors.ts';
export * from './serveResult.ts';
export * from './sweepResult.ts';
