import type { AttentionOp } from '../../../ops/op.ts';
import type { GpuCall, GpuCube, GpuLayout, GpuMatrix, GpuTensor, GpuThread, GpuVector } from '../abi.ts';

/** The keys or values of a layer: `[kvHeads · headDim, positions, slots]`. */
export interface KvTensors {
  keys(layer: number): GpuTensor;
  values(layer: number): GpuTensor;
}

// One score per position, head and row; those behind the row's own position are never read.
function scores(
  this: GpuThread<'headDim' | 'group' | 'scale'>,
  query: GpuMatrix,
  keys: GpuCube,
  slots: GpuVector,
  positions: GpuVector,
): number {
  let score = 0;
  if (this.thread.x <= positions[this.thread.z]!) {
    const kvHead = this.constants.headDim * Math.floor((this.thread.y + 0.5) / this.constants.group);
    const head = this.constants.headDim * this.thread.y;
    const slot = slots[this.thread.z]!;
    for (let i = 0; i < this.constants.headDim; i++) {
      score += query[this.thread.z]![head + i]! * keys[slot]![this.thread.x]![kvHead + i]!;
    }
  }
  return score * this.constants.scale;
}

// log Σ e^score, per head and row.
function normalisers(this: GpuThread, score: GpuCube, positions: GpuVector): number {
  const last = positions[this.thread.y]!;
  let largest = score[this.thread.y]![this.thread.x]![0]!;
  for (let p = 1; p <= last; p++) {
    largest = Math.max(largest, score[this.thread.y]![this.thread.x]![p]!);
  }
  let sum = 0;
  for (let q = 0; q <= last; q++) {
    sum += Math.exp(score[this.thread.y]![this.thread.x]![q]! - largest);
  }
  return largest + Math.log(sum);
}

function weights(this: GpuThread, score: GpuCube, normaliser: GpuMatrix, positions: GpuVector): number {
  let weight = 0;
  if (this.thread.x <= positions[this.thread.z]!) {
    weight = Math.exp(
      score[this.thread.z]![this.thread.y]![this.thread.x]! - normaliser[this.thread.z]![this.thread.y]!,
    );
  }
  return weight;
}

function mix(
  this: GpuThread<'headDim' | 'group'>,
  weight: GpuCube,
  values: GpuCube,
  slots: GpuVector,
  positions: GpuVector,
): number {
  const column = this.constants.headDim * Math.floor((this.thread.y + 0.5) / this.constants.group) + this.thread.x;
  const slot = slots[this.thread.z]!;
  const last = positions[this.thread.z]!;
  let sum = 0;
  for (let p = 0; p <= last; p++) {
    sum += weight[this.thread.z]![this.thread.y]![p]! * values[slot]![p]![column]!;
  }
  return sum;
}

/** What follows once the rows' keys and values are in the cache. */
export function lowerAttention(op: AttentionOp, layout: GpuLayout, kv: KvTensors): readonly GpuCall[] {
  const { headDim, heads, scale } = op;
  const group = heads / op.kvHeads;
  const { slots, positions } = layout;
  const output = layout.value(op.outputs.output);
  const score = layout.scratch(`${op.outputs.output}.scores`, ['positions', heads, 'batch']);
  const normaliser = layout.scratch(`${op.outputs.output}.normalisers`, [heads, 'batch']);
  const weight = layout.scratch(`${op.outputs.output}.weights`, score.size);
  return [
    {
      kernel: scores,
      constants: { headDim, group, scale },
      tensors: [layout.value(op.inputs.query), kv.keys(op.layer), slots, positions],
      output: score,
    },
    { kernel: normalisers, tensors: [score, positions], output: normaliser },
    { kernel: weights, tensors: [score, normaliser, positions], output: weight },
    {
      kernel: mix,
      constants: { headDim, group },
      tensors: [weight, kv.values(op.layer), slots, positions],
      output,
      threads: [headDim, heads, 'batch'],
    },
  ];
}
