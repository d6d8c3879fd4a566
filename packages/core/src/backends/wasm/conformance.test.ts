import { describe, it } from 'vitest';
import { quantizedGraph } from '../../../test/quantizedGraph.ts';
import { conformanceTests } from '../../testing/conformance.ts';
import { wasm } from './index.ts';

describe.each([
  { threads: 1, precision: 'float32', tolerance: 1e-4 },
  { threads: 3, precision: 'float32', tolerance: 1e-4 },
  { threads: 1, precision: 'int8', tolerance: 1e-3 },
  { threads: 3, precision: 'int8', tolerance: 1e-3 },
] as const)('$precision on $threads threads', ({ threads, precision, tolerance }) => {
  const oracle = precision === 'int8' ? quantizedGraph : undefined;
  for (const { name, skip, run } of conformanceTests(wasm({ threads, precision }), { tolerance, oracle })) {
    it.skipIf(skip)(skip ? `${name} (${skip})` : name, { timeout: 120_000 }, run);
  }
});
