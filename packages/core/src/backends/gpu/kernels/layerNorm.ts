import type { LayerNormOp } from '../../../ops/op.ts';
import type { GpuKernel, GpuMatrix, GpuThread, GpuVector } from '../abi.ts';
import { PARTS } from './rmsNorm.ts';

function sums(this: GpuThread<'width' | 'parts'>, input: GpuMatrix): number {
  let sum = 0;
  for (let i = this.thread.x; i < this.constants.width; i += this.constants.parts) sum += input[this.thread.y]![i]!;
  return sum;
}

function centredSquares(this: GpuThread<'width' | 'parts'>, input: GpuMatrix, totals: GpuMatrix): number {
  let total = 0;
  for (let part = 0; part < this.constants.parts; part++) total += totals[this.thread.y]![part]!;
  const mean = total / this.constants.width;
  let sum = 0;
  for (let i = this.thread.x; i < this.constants.width; i += this.constants.parts) {
    const x = input[this.thread.y]![i]! - mean;
    sum += x * x;
  }
  return sum;
}

function normalise(
  this: GpuThread<'width' | 'parts' | 'epsilon'>,
  input: GpuMatrix,
  totals: GpuMatrix,
  squares: GpuMatrix,
  gain: GpuVector,
  bias: GpuVector,
): number {
  let total = 0;
  let square = 0;
  for (let part = 0; part < this.constants.parts; part++) {
    total += totals[this.thread.y]![part]!;
    square += squares[this.thread.y]![part]!;
  }
  const factor = 1 / Math.sqrt(square / this.constants.width + this.constants.epsilon);
  const x = input[this.thread.y]![this.thread.x]! - total / this.constants.width;
  return x * factor * gain[this.thread.x]! + bias[this.thread.x]!;
}

export const layerNorm: GpuKernel<LayerNormOp> = {
  lower(op, layout) {
    const input = layout.value(op.inputs.input);
    const [width, rows] = input.size as [number, 'batch'];
    const totals = layout.scratch(`${op.outputs.output}.sums`, [PARTS, rows]);
    const squares = layout.scratch(`${op.outputs.output}.squares`, [PARTS, rows]);
    const constants = { width, parts: PARTS };
    return [
      { kernel: sums, constants, tensors: [input], output: totals },
      { kernel: centredSquares, constants, tensors: [input, totals], output: squares },
      {
        kernel: normalise,
        constants: { ...constants, epsilon: op.epsilon },
        tensors: [input, totals, squares, layout.param(op.params.gain), layout.param(op.params.bias)],
        output: layout.value(op.outputs.output),
      },
    ];
  },
};
