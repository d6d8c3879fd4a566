import type { LinearOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread, GpuVector } from '../abi.ts';

// Four products per turn: half the time of one. `whole` is the largest multiple of 4 in the inputs.
function product(
  this: GpuThread<'quads' | 'whole' | 'rest'>,
  input: GpuMatrix,
  weight: GpuMatrix,
  bias: GpuVector,
): number {
  let sum = bias[this.thread.x]!;
  for (let quad = 0; quad < this.constants.quads; quad++) {
    sum += input[this.thread.y]![4 * quad]! * weight[4 * quad]![this.thread.x]!;
    sum += input[this.thread.y]![4 * quad + 1]! * weight[4 * quad + 1]![this.thread.x]!;
    sum += input[this.thread.y]![4 * quad + 2]! * weight[4 * quad + 2]![this.thread.x]!;
    sum += input[this.thread.y]![4 * quad + 3]! * weight[4 * quad + 3]![this.thread.x]!;
  }
  for (let i = 0; i < this.constants.rest; i++) {
    sum += input[this.thread.y]![this.constants.whole + i]! * weight[this.constants.whole + i]![this.thread.x]!;
  }
  return sum;
}

function mask(this: GpuThread, input: GpuMatrix, alive: GpuMatrix): number {
  return input[this.thread.y]![this.thread.x]! * alive[this.thread.y]![this.thread.x]!;
}

export const linear: GpuKernel<LinearOp> = {
  lower(op, layout) {
    const weight = layout.param(op.params.weight);
    const [outputs, inputs] = weight.size as [number, number];
    const input = layout.value(op.inputs.input);
    const output = layout.value(op.outputs.output);
    const bias = op.params.bias
      ? layout.param(op.params.bias)
      : layout.table(`zeros ${outputs}`, [outputs], () => new Float32Array(outputs));
    const constants = { quads: Math.floor(inputs / 4), whole: inputs - (inputs % 4), rest: inputs % 4 };
    const multiply = { kernel: product, constants, output };
    if (op.inputs.channels === undefined) return [{ ...multiply, tensors: [input, weight, bias] }];
    const masked = layout.scratch(`${op.inputs.input} only ${op.inputs.channels}`, input.size);
    return [
      { kernel: mask, tensors: [input, layout.value(op.inputs.channels)], output: masked },
      { ...multiply, tensors: [masked, weight, bias] },
    ];
  },
};
