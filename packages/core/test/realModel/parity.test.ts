import { expect, it } from 'vitest';
import { onnx } from '../../src/backends/onnx/index.ts';
import { reference } from '../../src/backends/reference/index.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { compileFile, realModelPath } from './model.ts';
import { measureParity, parityFixture } from './parityFixture.ts';

// Next-token distributions against a float32 run of the same file in another framework: four windows of 512 tokens.
// The reference backend takes minutes for all four; with LLMOPT_PARITY=full it does them, otherwise one.

const all = Array.from({ length: parityFixture().windows }, (_, window) => window);
const ofReference = process.env.LLMOPT_PARITY === 'full' ? all : all.slice(0, 1);

it.each([
  // float32 in another order of sums: 1e-5 is what is asked for, and is a hundred times what is seen.
  { name: 'wasm float32', backend: () => wasm({ precision: 'float32' }), windows: all, maxKl: 1e-5, minTop: 0.999 },
  { name: 'onnx', backend: () => onnx({ threads: 1 }), windows: all, maxKl: 1e-5, minTop: 0.999 },
  { name: 'wasm int8', backend: () => wasm(), windows: all, maxKl: 3e-3, minTop: 0.97 },
  // What int16 keys and values add is far below what int8 weights cost.
  {
    name: 'wasm float32, keys and values in int16',
    backend: () => wasm({ precision: 'float32', kv: 'int16' }),
    windows: all.slice(0, 1),
    maxKl: 1e-5,
    minTop: 0.998,
  },
  {
    name: `reference, ${ofReference.length} of 4 windows`,
    backend: reference,
    windows: ofReference,
    maxKl: 1e-5,
    minTop: 0.999,
  },
])('$name', { timeout: 900_000 }, async ({ name, backend, windows, maxKl, minTop }) => {
  const { executable, dispose } = await compileFile(await realModelPath(), backend());
  const { meanKl, topAgreement, positions } = await measureParity(executable, windows);
  await dispose();
  console.log(
    `${name}: mean KL ${meanKl.toExponential(2)}, top token agrees ${(topAgreement * 100).toFixed(2)} %, ${positions} positions`,
  );
  expect(meanKl).toBeLessThan(maxKl);
  expect(topAgreement).toBeGreaterThanOrEqual(minTop);
});
