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
    let best = -1;
    for (let i = 0; i < free.length; i++) {
      if (free[i]!.bytes >= bytes && (best < 0 || free[i]!.bytes < free[best]!.bytes)) best = i;
    }
    if (best < 0 || free[best]!.bytes > 2 * bytes) {
      end += bytes;
      return { start: end - bytes, bytes };
    }
    return free.splice(best, 1)[0]!;
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
  /** Places values in one row, padded to a multiple of so many words. */
  function place(names: readonly string[], padding: number, index: number): void {
    let width = 0;
    let last = index;
    for (const name of names) {
      width += slotWidth(values.get(name)!);
      last = Math.max(last, lastRead.get(name) ?? index);
    }
    const stride = align(width, padding) * 4;
    const block = take(stride * maxRows);
    let column = 0;
    for (const name of names) {
      const info = values.get(name)!;
      const { width: own } = info;
      places.set(name, { pointer: block.start + column * 4, stride, width: own, words: slotWidth(info) });
      column += own;
    }
    const until = keepUntil(last);
    const others = expiring.get(until);
    if (others) others.push(block);
    else expiring.set(until, [block]);
  }
  graph.ops.forEach((op, index) => {
    const members = op.kind === 'linear' ? groups.get(op)?.ops : undefined;
    if (!members || members[0] === op) {
      // Side by side: one row holds the outputs of a group without gaps, padded to the 64 that kernels compute at once.
      if (members)
        place(
          members.map((member) => member.outputs.output),
          64,
          index,
        );
      else for (const name of Object.values<string>(op.outputs)) place([name], 16, index);
    }
    free.push(...(expiring.get(index) ?? []));
  });
  return { places, byteLength: end };
}

/** 32-bit words per row: a channel list has its count in front. */
const slotWidth = (info: ValueInfo) => (info.kind === 'channels' ? info.width + 1 : info.width);
