import type { AddOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread } from '../abi.ts';

function sum(this: GpuThread, left: GpuMatrix, right: GpuMatrix): number {
  return left[this.thread.y]![this.thread.x]! + right[this.thread.y]![this.thread.x]!;
}

export const add: GpuKernel<AddOp> = {
  lower: (op, layout) => [
    {
      kernel: sum,
      tensors: [layout.value(op.inputs.left), layout.value(op.inputs.right)],
      output: layout.value(op.outputs.output),
    },
  ],
};
