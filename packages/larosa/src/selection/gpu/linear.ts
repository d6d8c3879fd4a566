import type { CustomOp, LinearOp } from '@llmopt/core';
import type { GpuCall, GpuLayout, GpuMatrix, GpuThread, GpuVector } from '@llmopt/core/gpu';
import { listTensors } from './list.ts';

// Reads the weights of the listed channels only; four per turn, like core's product.
function product(
  this: GpuThread,
  input: GpuMatrix,
  list: GpuMatrix,
  lengths: GpuVector,
  weight: GpuMatrix,
  bias: GpuVector,
): number {
  let sum = bias[this.thread.x]!;
  const quads = Math.floor((lengths[this.thread.y]! + 0.5) / 4);
  const whole = 4 * quads;
  const rest = lengths[this.thread.y]! - whole;
  for (let quad = 0; quad < quads; quad++) {
    const a = list[this.thread.y]![4 * quad]!;
    const b = list[this.thread.y]![4 * quad + 1]!;
    const c = list[this.thread.y]![4 * quad + 2]!;
    const d = list[this.thread.y]![4 * quad + 3]!;
    sum += input[this.thread.y]![a]! * weight[a]![this.thread.x]!;
    sum += input[this.thread.y]![b]! * weight[b]![this.thread.x]!;
    sum += input[this.thread.y]![c]! * weight[c]![this.thread.x]!;
    sum += input[this.thread.y]![d]! * weight[d]![this.thread.x]!;
  }
  for (let i = 0; i < rest; i++) {
    const channel = list[this.thread.y]![whole + i]!;
    sum += input[this.thread.y]![channel]! * weight[channel]![this.thread.x]!;
  }
  return sum;
}

/** The product of a linear that reads a list which `larosa.sparsify` made. */
export function lowerListedLinear(linear: LinearOp, maker: CustomOp, layout: GpuLayout): readonly GpuCall[] {
  const { list, lengths } = listTensors(maker, layout);
  const weight = layout.param(linear.params.weight);
  const [outputs] = weight.size as [number];
  const bias = linear.params.bias
    ? layout.param(linear.params.bias)
    : layout.table(`zeros ${outputs}`, [outputs], () => new Float32Array(outputs));
  return [
    {
      kernel: product,
      tensors: [layout.value(linear.inputs.input), list, lengths, weight, bias],
      output: layout.value(linear.outputs.output),
    },
  ];
}
