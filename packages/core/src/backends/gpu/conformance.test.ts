import { describe, it } from 'vitest';
import { gpuModes } from '../../../test/gpu.ts';
import { conformanceTests } from '../../testing/conformance.ts';
import { gpu } from './index.ts';

for (const { mode, skip: noDevice, title } of gpuModes) {
  describe(`gpu ${title}`, () => {
    for (const { name, skip: unsupported, run } of conformanceTests(gpu({ mode }), { runs: 8, graphRuns: 2 })) {
      it.skipIf(noDevice ?? unsupported)(unsupported ? `${name} (${unsupported})` : name, { timeout: 120_000 }, run);
    }
  });
}
