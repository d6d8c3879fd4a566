import type { ModelConfig } from '../../graph/graph.ts';
import type { BatchRows } from '../reference/context.ts';
import type { Copy, Device, Memory, Operand } from './device/device.ts';

const FEWEST_POSITIONS = 64;

/** Keys and values of all layers on the device: per layer `[kvHeads · headDim, positions, slots]`, as large as the batches so far needed. */
export interface KvStore {
  /** Make room. @throws LLMOPT_OUT_OF_MEMORY */
  reserve(slots: number, positions: number): Promise<void>;
  /** Positions per slot that there is room for. */
  readonly positions: number;
  /** Copy a row of `keys` and of `values` for each row of the batch. */
  store(layer: number, keys: Operand, values: Operand, rows: BatchRows): void;
  keys(layer: number): Operand;
  values(layer: number): Operand;
  readonly byteLength: number;
  dispose(): void;
}

export function createKvStore(
  device: Device,
  { layers, kvHeads, headDim }: ModelConfig,
  contextLength: number,
): KvStore {
  const width = kvHeads * headDim;
  let room = { slots: 0, positions: 0 };
  // Of each layer the keys, then the values.
  let memories: Memory[] = [];

  const sizes = ({ slots, positions }: typeof room) => [width, positions, slots];
  const moves = (from: Operand, to: Operand, { positions }: typeof room): Copy[] =>
    Array.from({ length: room.slots }, (_, slot) => ({
      from,
      fromIndex: slot * room.positions * width,
      to,
      toIndex: slot * positions * width,
      length: room.positions * width,
    }));

  return {
    async reserve(slots, positions) {
      if (slots <= room.slots && positions <= room.positions) return;
      const to = {
        slots: Math.max(slots, room.slots),
        positions: Math.min(
          contextLength,
          Math.max(room.positions, FEWEST_POSITIONS, 2 ** Math.ceil(Math.log2(positions))),
        ),
      };
      // All or nothing: when there is no room for one of them, the old ones stay as they are.
      const larger: Memory[] = [];
      try {
        for (let i = 0; i < 2 * layers; i++) {
          larger.push(await device.allocate(width * to.positions * to.slots, `the KV cache of layer ${i >> 1}`));
        }
      } catch (error) {
        for (const memory of larger) memory.destroy();
        throw error;
      }
      device.copy(memories.flatMap((old, i) => moves(old.view(sizes(room)), larger[i]!.view(sizes(to)), to)));
      for (const memory of memories) memory.destroy();
      memories = larger;
      room = to;
    },
    get positions() {
      return room.positions;
    },
    store(layer, keyRows, valueRows, rows) {
      const runs = runsOf(rows);
      const copies = (from: Operand, to: Operand): Copy[] =>
        runs.map(({ row, count, slot, position }) => ({
          from,
          fromIndex: row * width,
          to,
          toIndex: (slot * room.positions + position) * width,
          length: count * width,
        }));
      device.copy([...copies(keyRows, this.keys(layer)), ...copies(valueRows, this.values(layer))]);
    },
    keys: (layer) => memories[2 * layer]!.view(sizes(room)),
    values: (layer) => memories[2 * layer + 1]!.view(sizes(room)),
    get byteLength() {
      return 2 * layers * width * room.positions * room.slots * 4;
    },
    dispose() {
      for (const memory of memories) memory.destroy();
      memories = [];
    },
  };
}

/** Rows that lie side by side in the cache, too. */
function runsOf({ slots, positions }: BatchRows) {
  const runs: { row: number; slot: number; position: number; count: number }[] = [];
  for (let row = 0; row < slots.length; row++) {
    const last = runs.at(-1);
    if (last && last.slot === slots[row] && last.position + last.count === positions[row]) last.count++;
    else runs.push({ row, slot: slots[row]!, position: positions[row]!, count: 1 });
  }
  return runs;
}
