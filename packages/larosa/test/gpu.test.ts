import { gpu } from '@llmopt/core/gpu';
import { expect, it } from 'vitest';
import { noAdapter } from '../../core/test/gpu.ts';
import { compareWithReference } from './sameChoices.ts';

// A software adapter takes seconds per token: with LLMOPT_PARITY=full there are as many as on other backends, otherwise a few.
const lengths = process.env.LLMOPT_PARITY === 'full' ? { prefill: 128, decode: 24 } : { prefill: 4, decode: 1 };

it.each([0, 0.4])(
  'SmolLM2-135M on the gpu backend is the reference, LaRoSA at %s',
  { timeout: 3_600_000 },
  async (sparsity) => {
    const backend = gpu({ mode: noAdapter ? 'webasm' : 'webgpu' });
    expect(await compareWithReference(backend, sparsity, lengths)).toBeLessThan(1e-4);
  },
);
