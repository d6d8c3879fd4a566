import type { ActOp } from '../../../ops/op.ts';
import type { GpuFunction, GpuKernel, GpuMatrix, GpuThread } from '../abi.ts';

// Shaders may take infinity for a number: e^80 is far enough.
function silu(this: GpuThread, input: GpuMatrix): number {
  const x = input[this.thread.y]![this.thread.x]!;
  return x / (1 + Math.exp(Math.min(-x, 80)));
}

// (1 + tanh(u)) / 2 = 1 / (1 + e^(-2u))
function geluTanh(this: GpuThread, input: GpuMatrix): number {
  const x = input[this.thread.y]![this.thread.x]!;
  const doubled = 1.5957691216057308 * (x + 0.044715 * x * x * x);
  return x / (1 + Math.exp(Math.min(-doubled, 80)));
}

// erf by Abramowitz and Stegun, 7.1.26: within 1.5e-7.
function gelu(this: GpuThread, input: GpuMatrix): number {
  const x = input[this.thread.y]![this.thread.x]!;
  const z = Math.abs(x) * Math.SQRT1_2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp(-Math.min(z * z, 80));
  let share = tail;
  if (x > 0) {
    share = 1 - tail;
  }
  return x * share;
}

const kernels: Readonly<Record<ActOp['activation'], GpuFunction>> = { silu, geluTanh, gelu };

export const act: GpuKernel<ActOp> = {
  lower: (op, layout) => [
    {
      kernel: kernels[op.activation],
      tensors: [layout.value(op.inputs.input)],
      output: layout.value(op.outputs.output),
    },
  ],
};
