import type { CustomOp } from '@llmopt/core';
import type { GpuCall, GpuLayout, GpuMatrix, GpuThread, GpuVector } from '@llmopt/core/gpu';
import type { SparsifyAttributes } from '../sparsify.ts';
import { lowerLists } from './list.ts';

// Of two channels the one with the larger magnitude comes first; of equals the one with the lower index. A channel is alive
// if fewer than `keep` come before it. To count for every channel would take width² comparisons, so that is done for
// a sample; of the others only those between the last sampled channel that is alive and the first that is not are counted.
const SAMPLES = 64;

/** How many channels come before a sampled one. */
function sampleRanks(this: GpuThread<'width'>, input: GpuMatrix, samples: GpuVector): number {
  const channel = samples[this.thread.x]!;
  const magnitude = Math.abs(input[this.thread.y]![channel]!);
  let before = 0;
  for (let i = 0; i < this.constants.width; i++) {
    const other = Math.abs(input[this.thread.y]![i]!);
    if (other > magnitude || (other === magnitude && i < channel)) before += 1;
  }
  return before;
}

/** Of the sampled channels the last that is alive and the first that is not; -1 if there is none. */
function borders(this: GpuThread<'samples' | 'keep'>, ranks: GpuMatrix, samples: GpuVector): number {
  let found = -1;
  let highest = -1;
  let lowest = 1e9;
  for (let i = 0; i < this.constants.samples; i++) {
    const rank = ranks[this.thread.y]![i]!;
    if (this.thread.x < 1) {
      if (rank < this.constants.keep && rank > highest) {
        highest = rank;
        found = samples[i]!;
      }
    } else {
      if (rank >= this.constants.keep && rank < lowest) {
        lowest = rank;
        found = samples[i]!;
      }
    }
  }
  return found;
}

/** 1 for a channel that is alive, 0 for the others. */
function mask(
  this: GpuThread<'width' | 'keep' | 'dense'>,
  input: GpuMatrix,
  border: GpuMatrix,
  prompt: GpuVector,
): number {
  const channel = this.thread.x;
  const magnitude = Math.abs(input[this.thread.y]![this.thread.x]!);
  const alive = border[this.thread.y]![0]!;
  const dead = border[this.thread.y]![1]!;
  let known = -1;
  if (alive >= 0) {
    const least = Math.abs(input[this.thread.y]![alive]!);
    if (magnitude > least || (magnitude === least && channel <= alive)) known = 1;
  }
  if (dead >= 0) {
    const largest = Math.abs(input[this.thread.y]![dead]!);
    if (magnitude < largest || (magnitude === largest && channel >= dead)) known = 0;
  }
  if (prompt[this.thread.y]! * this.constants.dense > 0.5) known = 1;
  if (known < 0) {
    let before = 0;
    for (let i = 0; i < this.constants.width; i++) {
      const other = Math.abs(input[this.thread.y]![i]!);
      if (other > magnitude || (other === magnitude && i < channel)) before += 1;
    }
    known = 0;
    if (before < this.constants.keep) known = 1;
  }
  return known;
}

export function lowerSparsify(op: CustomOp, layout: GpuLayout): readonly GpuCall[] {
  const { keep, prefill } = op.attributes as SparsifyAttributes;
  const input = layout.value(op.inputs.input!);
  const output = layout.value(op.outputs.channels!);
  const [width, rows] = input.size as [number, 'batch'];
  const samples = Math.min(SAMPLES, width);
  const sampled = layout.table(`sampled channels ${width}`, [samples], () =>
    Float32Array.from({ length: samples }, (_, i) => Math.floor((i * width) / samples)),
  );
  const scratch = (name: string, columns: number) => layout.scratch(`${op.outputs.channels}.${name}`, [columns, rows]);
  const ranks = scratch('ranks', samples);
  const border = scratch('borders', 2);
  return [
    { kernel: sampleRanks, constants: { width }, tensors: [input, sampled], output: ranks },
    { kernel: borders, constants: { samples, keep }, tensors: [ranks, sampled], output: border },
    {
      kernel: mask,
      constants: { width, keep, dense: prefill === 'dense' ? 1 : 0 },
      tensors: [input, border, layout.prompt],
      output,
    },
    ...lowerLists(op, layout),
  ];
}
