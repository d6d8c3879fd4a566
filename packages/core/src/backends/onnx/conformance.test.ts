import { it } from 'vitest';
import { conformanceTests } from '../../testing/conformance.ts';
import { onnx } from './index.ts';

// The order of sums.
for (const { name, skip, run } of conformanceTests(onnx({ threads: 1, values: true }), { tolerance: 2e-5, runs: 20 })) {
  it.skipIf(skip)(skip ? `${name} (${skip})` : name, { timeout: 120_000 }, run);
}
