import type { CustomOp } from '@llmopt/core';
import type { GpuCall, GpuLayout, GpuMatrix, GpuTensor, GpuThread } from '@llmopt/core/gpu';

const BLOCK = 32;

/** Channels that are alive in a block of neighbours. */
function counts(this: GpuThread<'width' | 'block'>, alive: GpuMatrix): number {
  let count = 0;
  for (let i = 0; i < this.constants.block; i++) {
    const channel = this.thread.x * this.constants.block + i;
    if (channel < this.constants.width) count += alive[this.thread.y]![channel]!;
  }
  return count;
}

function sum(this: GpuThread<'blocks'>, blockCounts: GpuMatrix): number {
  let total = 0;
  for (let i = 0; i < this.constants.blocks; i++) total += blockCounts[this.thread.x]![i]!;
  return total;
}

/** The channels that are alive, ascending: thread x finds the one that x others come before; behind the last there are zeros. */
function list(this: GpuThread<'width' | 'block' | 'blocks'>, alive: GpuMatrix, blockCounts: GpuMatrix): number {
  let left = this.thread.x + 0.5;
  let channel = -1;
  for (let block = 0; block < this.constants.blocks; block++) {
    const count = blockCounts[this.thread.y]![block]!;
    if (channel < 0) {
      if (left < count) {
        channel = block * this.constants.block;
      } else {
        left -= count;
      }
    }
  }
  let found = 0;
  if (channel >= 0) {
    for (let i = 0; i < this.constants.block; i++) {
      if (channel + i < this.constants.width) {
        const step = alive[this.thread.y]![channel + i]!;
        if (left > 0 && left < step) found = channel + i;
        left -= step;
      }
    }
  }
  return found;
}

/** The lists of the channels that are alive, `[width, rows]`, and how long each is, beside the mask that is the op's output. */
export function listTensors(op: CustomOp, layout: GpuLayout): { list: GpuTensor; lengths: GpuTensor } {
  const { size } = layout.value(op.outputs.channels!);
  return {
    list: layout.scratch(`${op.outputs.channels}.list`, size),
    lengths: layout.scratch(`${op.outputs.channels}.lengths`, [size[1]!]),
  };
}

/** Makes lists of the op's masks. */
export function lowerLists(op: CustomOp, layout: GpuLayout): GpuCall[] {
  const alive = layout.value(op.outputs.channels!);
  const [width, rows] = alive.size as [number, 'batch'];
  const blocks = Math.ceil(width / BLOCK);
  const blockCounts = layout.scratch(`${op.outputs.channels}.counts`, [blocks, rows]);
  const made = listTensors(op, layout);
  return [
    { kernel: counts, constants: { width, block: BLOCK }, tensors: [alive], output: blockCounts },
    { kernel: sum, constants: { blocks }, tensors: [blockCounts], output: made.lengths },
    { kernel: list, constants: { width, block: BLOCK, blocks }, tensors: [alive, blockCounts], output: made.list },
  ];
}
