import type { Graph, ValueInfo } from '../../graph/graph.ts';
import type { LinearOp, Op } from '../../ops/op.ts';
import type { WasmValue } from './abi.ts';
import type { LinearGroup } from './packing/groups.ts';

const align = (size: number, to: number) => Math.ceil(size / to) * to;

interface Block {
  start: number;
  bytes: number;
}

/**
 * Gives every value a place in one region, offsets from its start. A place is used again once the last op that reads the value is
 * done: more exactly, behind op `keepUntil(index of that op)`. Outputs of one group of linears lie side by side in one row.
 */
export function placeValues(
  graph: Graph,
  values: ReadonlyMap<string, ValueInfo>,
  groups: ReadonlyMap<LinearOp, LinearGroup>,
  maxRows: number,
  keepUntil: (index: number) => number = (index) => index,
) {
  const places = new Map<string, WasmValue & { words: number }>();
  const free: Block[] = [];
  let end = 0;

  const take = (bytes: number): Block => {
    const fit = free.filter((block) => block.bytes >= bytes).sort((a, b) => a.bytes - b.bytes)[0];
    if (!fit || fit.bytes > 2 * bytes) {
      end += bytes;
      return { start: end - bytes, bytes };
    }
    free.splice(free.indexOf(fit), 1);
    return fit;
  };

  const lastRead = new Map<string, number>();
  const when = (op: Op, index: number) => {
    const group = op.kind === 'linear' ? groups.get(op) : undefined;
    return group ? graph.ops.indexOf(group.ops[0]!) : index;
  };
  graph.ops.forEach((op, index) => {
    for (const name of Object.values(op.inputs)) lastRead.set(name, Math.max(lastRead.get(name) ?? 0, when(op, index)));
  });
  lastRead.set(graph.logits, Infinity);

  const expiring = new Map<number, Block[]>();
  graph.ops.forEach((op, index) => {
    const members = op.kind === 'linear' ? groups.get(op)?.ops : undefined;
    if (!members || members[0] === op) {
      const names = (members ?? [op]).flatMap((member) => Object.values<string>(member.outputs));
      const widths = names.map((name) => slotWidth(values.get(name)!));
      // Side by side: one row holds all of them without gaps, padded to the 64 outputs that kernels compute at once.
      const blocks = members
        ? [
            {
              names,
              stride:
                align(
                  widths.reduce((sum, width) => sum + width, 0),
                  64,
                ) * 4,
            },
          ]
        : names.map((name, i) => ({ names: [name], stride: align(widths[i]! * 4, 64) }));
      for (const { names: inBlock, stride } of blocks) {
        const block = take(stride * maxRows);
        let column = 0;
        for (const name of inBlock) {
          const { width } = values.get(name)!;
          places.set(name, { pointer: block.start + column * 4, stride, width, words: slotWidth(values.get(name)!) });
          column += width;
        }
        const last = keepUntil(Math.max(index, ...inBlock.map((name) => lastRead.get(name) ?? index)));
        expiring.set(last, [...(expiring.get(last) ?? []), block]);
      }
    }
    free.push(...(expiring.get(index) ?? []));
  });
  return { places, byteLength: end };
}

/** 32-bit words per row: a channel list has its count in front. */
const slotWidth = (info: ValueInfo) => (info.kind === 'channels' ? info.width + 1 : info.width);
