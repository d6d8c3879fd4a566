import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { reference, wasm } from '@llmopt/core';
import { exportOnnx, onnx } from '@llmopt/core/onnx';
import { InferenceSession } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../core/test/backends.ts';
import { larosa } from '../larosa.ts';

const tokens = Array.from({ length: 14 }, (_, i) => (i * 29) % 101);
// Records of 2,200 bytes, few of which are read: both layouts of weights are there.
const dense = randomGraph({ ffn: 1100 });
const sparse = await larosa({ sparsity: 0.65 }).graph!(dense);

async function logits(backend: Parameters<typeof compile>[0], graph = sparse, chunk = 14, promptLength = 0) {
  const executable = await compile(backend, graph);
  const rows = await forwardAlone(executable, tokens, chunk, promptLength);
  await executable.dispose();
  return rows;
}

describe('prefill', () => {
  it.each([
    ['int8', 14],
    ['int8', 1],
    ['float32', 5],
  ] as const)(
    'computes a prompt as the dense model does, bit for bit (%s, %i rows at once)',
    async (precision, chunk) => {
      const backend = wasm({ precision, threads: 2 });
      const expected = await logits(backend, dense, chunk);
      expect(await logits(backend, sparse, chunk, tokens.length)).toEqual(expected);
      expect(await logits(backend, sparse, chunk)).not.toEqual(expected);
    },
  );

  it('leaves out weights of a prompt where that is asked for', async () => {
    const always = await larosa({ sparsity: 0.65, prefill: 'sparse' }).graph!(dense);
    const backend = wasm({ threads: 1 });
    expect(await logits(backend, always, 14, tokens.length)).toEqual(await logits(backend, sparse, 14));
  });

  it('is the same in onnxruntime, whose model gets an input for it, and only then', async () => {
    const expected = await logits(reference(), sparse, 4, 9);
    const actual = await logits(onnx({ threads: 1 }), sparse, 4, 9);
    for (const [i, row] of expected.entries())
      for (const [j, logit] of row.entries()) expect(Math.abs(actual[i]![j]! - logit)).toBeLessThan(1e-4);
    const always = await larosa({ sparsity: 0.65, prefill: 'sparse' }).graph!(dense);
    const folder = await mkdtemp(path.join(tmpdir(), 'llmopt-larosa-'));
    const inputsOf = async (graph: typeof sparse, selectRows: boolean) => {
      const file = path.join(folder, 'model.onnx');
      await exportOnnx(graph, file, { selectRows });
      const session = await InferenceSession.create(file);
      const { inputNames } = session;
      await session.release();
      return inputNames;
    };
    expect(await inputsOf(sparse, true)).toContain('prompt_rows');
    expect(await inputsOf(sparse, false)).not.toContain('prompt_rows');
    expect(await inputsOf(always, true)).not.toContain('prompt_rows');
    await rm(folder, { recursive: true });
  });

  it('refuses another word', () => {
    expect(() => larosa({ sparsity: 0.4, prefill: 'none' as 'dense' })).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' }),
    );
  });
});
