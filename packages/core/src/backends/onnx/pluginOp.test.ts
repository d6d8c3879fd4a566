import { expect, it } from 'vitest';
import { compile } from '../../../test/backends.ts';
import { defineOp, type OpDefinition } from '../../ops/define.ts';
import type { CustomOp } from '../../ops/op.ts';
import { checkOp } from '../../testing/check.ts';
import { opCase } from '../../testing/opCase.ts';
import { onnx } from './index.ts';

const double = defineOp({
  kind: 'test.double',
  shape: (_op, context) => ({ output: context.value('input', 'float') }),
  kernels: {
    reference(_op, context) {
      context.float('output').set(context.float('input').map((x) => 2 * x));
    },
    onnx: (_op, build) => ({ output: build.node('Mul', [build.input('input'), build.floats(2)]) }),
  },
});
const { onnx: _, ...others } = double.kernels;

function caseOf(definition: OpDefinition<CustomOp>) {
  const names = { inputs: { input: 'x' }, outputs: { output: 'y' } };
  const op: CustomOp = { kind: 'test.double', ...names, params: {}, attributes: {}, definition };
  return opCase({ name: 'double', seed: 1, inputs: { x: { width: 9 } }, ops: [op], lengths: [1, 4] });
}

it('brings a kernel of its own', async () => {
  await checkOp(onnx({ values: true, threads: 1 }), caseOf(double), { tolerance: 1e-7 });
});

it('is refused by name when it has none', async () => {
  await expect(compile(onnx(), caseOf({ ...double, kernels: others }).graph)).rejects.toMatchObject({
    code: 'LLMOPT_PLAN',
    problems: ['the backend "onnx" has no kernel for test.double (y), of plugin "test"'],
  });
});

it('is refused when its kernel makes something else', async () => {
  const wrong = { ...double, kernels: { ...others, onnx: () => ({ result: 'x' }) } };
  await expect(compile(onnx(), caseOf(wrong).graph)).rejects.toMatchObject({
    code: 'LLMOPT_GRAPH_INVALID',
    message: expect.stringContaining('test.double (y): its ONNX kernel does not make "output"'),
  });
});
