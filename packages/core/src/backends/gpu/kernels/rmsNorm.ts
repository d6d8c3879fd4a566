import type { RmsNormOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread } from '../abi.ts';

// A row is summed in parts, by a thread each; each part takes every 16th number.
export const PARTS = 16;

function squares(this: GpuThread<'width' | 'parts'>, input: GpuMatrix): number {
  let sum = 0;
  for (let i = this.thread.x; i < this.constants.width; i += this.constants.parts) {
    const x = input[this.thread.y]![i]!;
    sum += x * x;
  }
  return sum;
}

function normalise(
  this: GpuThread<'width' | 'parts' | 'epsilon'>,
  input: GpuMatrix,
  sums: GpuMatrix,
  gain: readonly number[],
): number {
  let sum = 0;
  for (let part = 0; part < this.constants.parts; part++) sum += sums[this.thread.y]![part]!;
  const factor = 1 / Math.sqrt(sum / this.constants.width + this.constants.epsilon);
  return input[this.thread.y]![this.thread.x]! * factor * gain[this.thread.x]!;
}

export const rmsNorm: GpuKernel<RmsNormOp> = {
  lower(op, layout) {
    const input = layout.value(op.inputs.input);
    const [width, rows] = input.size as [number, 'batch'];
    const sums = layout.scratch(`${op.outputs.output}.squares`, [PARTS, rows]);
    const constants = { width, parts: PARTS };
    return [
      { kernel: squares, constants, tensors: [input], output: sums },
      {
        kernel: normalise,
        constants: { ...constants, epsilon: op.epsilon },
        tensors: [input, sums, layout.param(op.params.gain)],
        output: layout.value(op.outputs.output),
      },
    ];
  },
};
