import { onnx } from '@llmopt/core/onnx';
import { expect, it } from 'vitest';
import { compareWithReference } from './sameChoices.ts';

// Without LaRoSA, core's own parity tests compare the two.
it('SmolLM2-135M on the onnx backend is the reference, LaRoSA at 0.4', { timeout: 900_000 }, async () => {
  const backend = onnx({ values: true, threads: 1 });
  expect(await compareWithReference(backend, 0.4, { prefill: 128, decode: 24 })).toBeLessThan(1e-5);
});
