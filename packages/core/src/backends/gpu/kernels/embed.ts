import type { EmbedOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread, GpuVector } from '../abi.ts';

// weight[column][token]: matrices lie with their outputs side by side.
function lookUp(this: GpuThread, weight: GpuMatrix, tokens: GpuVector): number {
  return weight[this.thread.x]![tokens[this.thread.y]!]!;
}

export const embed: GpuKernel<EmbedOp> = {
  lower: (op, layout) => [
    {
      kernel: lookUp,
      tensors: [layout.param(op.params.weight), layout.tokens],
      output: layout.value(op.outputs.output),
    },
  ],
};
