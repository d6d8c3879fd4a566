import type { CustomOp, LinearOp } from '@llmopt/core';
import type { GpuCall, GpuLayout, GpuMatrix, GpuThread, GpuVector } from '@llmopt/core/gpu';
import { listTensor } from './select.ts';

// Reads the weights of the listed channels only; four per turn, like core's product.
function product(
  this: GpuThread<'quads' | 'whole' | 'rest'>,
  input: GpuMatrix,
  list: GpuMatrix,
  weight: GpuMatrix,
  bias: GpuVector,
): number {
  let sum = bias[this.thread.x]!;
  for (let quad = 0; quad < this.constants.quads; quad++) {
    const a = list[this.thread.y]![4 * quad]!;
    const b = list[this.thread.y]![4 * quad + 1]!;
    const c = list[this.thread.y]![4 * quad + 2]!;
    const d = list[this.thread.y]![4 * quad + 3]!;
    sum += input[this.thread.y]![a]! * weight[a]![this.thread.x]!;
    sum += input[this.thread.y]![b]! * weight[b]![this.thread.x]!;
    sum += input[this.thread.y]![c]! * weight[c]![this.thread.x]!;
    sum += input[this.thread.y]![d]! * weight[d]![this.thread.x]!;
  }
  for (let i = 0; i < this.constants.rest; i++) {
    const channel = list[this.thread.y]![this.constants.whole + i]!;
    sum += input[this.thread.y]![channel]! * weight[channel]![this.thread.x]!;
  }
  return sum;
}

/** The product of a linear that reads a list which `larosa.sparsify` made. */
export function lowerListedLinear(linear: LinearOp, maker: CustomOp, layout: GpuLayout): readonly GpuCall[] {
  const list = listTensor(maker, layout);
  const [kept] = list.size as [number];
  const weight = layout.param(linear.params.weight);
  const [outputs] = weight.size as [number];
  const bias = linear.params.bias
    ? layout.param(linear.params.bias)
    : layout.table(`zeros ${outputs}`, [outputs], () => new Float32Array(outputs));
  return [
    {
      kernel: product,
      constants: { quads: Math.floor(kept / 4), whole: kept - (kept % 4), rest: kept % 4 },
      tensors: [layout.value(linear.inputs.input), list, weight, bias],
      output: layout.value(linear.outputs.output),
    },
  ];
}
