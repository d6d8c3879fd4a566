import type { SelectRowsOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread, GpuVector } from '../abi.ts';

function select(this: GpuThread, input: GpuMatrix, logitRows: GpuVector): number {
  return input[logitRows[this.thread.y]!]![this.thread.x]!;
}

export const selectRows: GpuKernel<SelectRowsOp> = {
  lower: (op, layout) => [
    {
      kernel: select,
      tensors: [layout.value(op.inputs.input), layout.logitRows],
      output: layout.value(op.outputs.output),
    },
  ],
};
