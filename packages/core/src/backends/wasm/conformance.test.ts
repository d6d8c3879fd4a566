import { describe, it } from 'vitest';
import { quantizedGraph } from '../../../test/quantizedGraph.ts';
import { conformanceTests } from '../../testing/conformance.ts';
import { wasm } from './index.ts';

describe.each([
  // The order of sums.
  { threads: 1, precision: 'float32', kv: 'float32', tolerance: 2e-5 },
  { threads: 3, precision: 'float32', kv: 'float32', tolerance: 2e-5 },
  // Against the same quantised weights: activations in steps of 1/29,000 of the largest of their row, passed on through two layers.
  { threads: 2, precision: 'int8', kv: 'float32', tolerance: 2e-3 },
  // Keys and values in steps of 1/32,767 of the largest of their head.
  { threads: 2, precision: 'float32', kv: 'int16', tolerance: 5e-4, only: 'attention' },
] as const)('$precision, keys and values in $kv, $threads threads', ({ tolerance, only = '', ...options }) => {
  const oracle = options.precision === 'int8' ? quantizedGraph : undefined;
  for (const { name, skip, run } of conformanceTests(wasm(options), { tolerance, oracle, runs: 10 })) {
    if (name.startsWith(only)) it.skipIf(skip)(skip ? `${name} (${skip})` : name, { timeout: 120_000 }, run);
  }
});
