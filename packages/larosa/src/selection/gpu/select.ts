import type { CustomOp } from '@llmopt/core';
import type { GpuCall, GpuLayout, GpuMatrix, GpuTensor, GpuThread, GpuVector } from '@llmopt/core/gpu';
import { selectionOf } from '../sparsify.ts';
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

/** |x| · norm of the weights' column. */
function weigh(this: GpuThread, input: GpuMatrix, norms: GpuVector): number {
  return Math.abs(input[this.thread.y]![this.thread.x]!) * norms[this.thread.x]!;
}

/** The first channel of the largest magnitude, per row. */
function largest(this: GpuThread<'width'>, score: GpuMatrix): number {
  let found = 0;
  let most = Math.abs(score[this.thread.x]![0]!);
  for (let i = 1; i < this.constants.width; i++) {
    const magnitude = Math.abs(score[this.thread.x]![i]!);
    if (magnitude > most) {
      most = magnitude;
      found = i;
    }
  }
  return found;
}

function reached(
  this: GpuThread<'dense'>,
  score: GpuMatrix,
  threshold: GpuVector,
  first: GpuVector,
  prompt: GpuVector,
): number {
  let alive = 0;
  if (Math.abs(score[this.thread.y]![this.thread.x]!) >= threshold[0]!) alive = 1;
  if (Math.abs(first[this.thread.y]! - this.thread.x) < 0.5) alive = 1;
  if (prompt[this.thread.y]! * this.constants.dense > 0.5) alive = 1;
  return alive;
}

export function lowerSparsify(op: CustomOp, layout: GpuLayout): readonly GpuCall[] {
  const input = layout.value(op.inputs.input!);
  if (op.params.norms === undefined) return [...lowerSelection(op, input, layout), ...lowerLists(op, layout)];
  const scores = layout.scratch(`${op.outputs.channels}.scores`, input.size);
  return [
    { kernel: weigh, tensors: [input, layout.param(op.params.norms)], output: scores },
    ...lowerSelection(op, scores, layout),
    ...lowerLists(op, layout),
  ];
}

/** The mask by given scores. */
function lowerSelection(op: CustomOp, score: GpuTensor, layout: GpuLayout): GpuCall[] {
  const { keep, threshold, prefill } = selectionOf(op);
  const output = layout.value(op.outputs.channels!);
  const [width, rows] = score.size as [number, 'batch'];
  const dense = prefill === 'dense' ? 1 : 0;
  const scratch = (name: string, size: GpuTensor['size']) => layout.scratch(`${op.outputs.channels}.${name}`, size);
  if (keep === undefined) {
    const first = scratch('largest', [rows]);
    const border = layout.table(`threshold ${threshold}`, [1], () => Float32Array.of(threshold!));
    return [
      { kernel: largest, constants: { width }, tensors: [score], output: first },
      { kernel: reached, constants: { dense }, tensors: [score, border, first, layout.prompt], output },
    ];
  }
  const samples = Math.min(SAMPLES, width);
  const sampled = layout.table(`sampled channels ${width}`, [samples], () =>
    Float32Array.from({ length: samples }, (_, i) => Math.floor((i * width) / samples)),
  );
  const ranks = scratch('ranks', [samples, rows]);
  const border = scratch('borders', [2, rows]);
  return [
    { kernel: sampleRanks, constants: { width }, tensors: [score, sampled], output: ranks },
    { kernel: borders, constants: { samples, keep }, tensors: [ranks, sampled], output: border },
    { kernel: mask, constants: { width, keep, dense }, tensors: [score, border, layout.prompt], output },
  ];
}
