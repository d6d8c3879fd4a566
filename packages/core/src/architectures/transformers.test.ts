import { describe, expect, it } from 'vitest';
import { architectureFixtures, loadFixture } from '../../test/architectureFixtures.ts';
import { compile, forwardAlone } from '../../test/backends.ts';
import { onnx } from '../backends/onnx/index.ts';
import { reference } from '../backends/reference/index.ts';
import { wasm } from '../backends/wasm/index.ts';

const largest = (numbers: Iterable<number>) => [...numbers].reduce((most, x) => Math.max(most, Math.abs(x)), 0);

const cases = architectureFixtures.flatMap((name) =>
  (['safetensors', 'gguf'] as const).map((format) => ({ name, format })),
);

const backends = [
  // float32 on both sides, logits up to 10: what is left is the order of sums.
  { backend: reference(), tolerance: () => 1e-4 },
  { backend: wasm({ threads: 2, precision: 'float32' }), tolerance: () => 1e-4 },
  { backend: onnx({ threads: 2 }), tolerance: () => 1e-4 },
  // int8: weights in steps of 1/127 of the largest of their row, and sums of 36 terms, over which little averages out.
  { backend: wasm({ threads: 2 }), tolerance: (logits: Float32Array) => 0.05 * largest(logits) },
];

describe.each(cases)('$name from $format', ({ name, format }) => {
  it.each(backends)(
    'has the logits of transformers on $backend.name $backend.settings.precision, whole, in pieces and token by token',
    async ({ backend, tolerance }) => {
      const { graph, tokens, expected, close } = await loadFixture(name, format);
      const executable = await compile(backend, graph);
      try {
        for (const chunk of [tokens.length, 7, 1]) {
          const actual = await forwardAlone(executable, tokens, chunk);
          for (const [i, row] of expected.entries()) {
            const difference = largest(row.map((logit, token) => logit - actual[i]![token]!));
            expect(difference, `token ${i}, ${chunk} at a time`).toBeLessThan(tolerance(row));
          }
        }
      } finally {
        await executable.dispose();
        await close();
      }
    },
  );
});
