import type { GatedActOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread } from '../abi.ts';

function gatedSilu(this: GpuThread, gate: GpuMatrix, up: GpuMatrix): number {
  const x = gate[this.thread.y]![this.thread.x]!;
  // Shaders may take infinity for a number: e^80 is far enough.
  return (x / (1 + Math.exp(Math.min(-x, 80)))) * up[this.thread.y]![this.thread.x]!;
}

export const gatedAct: GpuKernel<GatedActOp> = {
  lower: (op, layout) => [
    {
      kernel: gatedSilu,
      tensors: [layout.value(op.inputs.gate), layout.value(op.inputs.up)],
      output: layout.value(op.outputs.output),
    },
  ],
};
