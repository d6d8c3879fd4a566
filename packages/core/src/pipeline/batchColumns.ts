import type { Batch } from '../backends/backend.ts';

/** One batch that is filled again for every step; nothing is allocated but views, and each of those once. */
export function batchColumns(maxRows: number) {
  const make = () => {
    const column = new Int32Array(maxRows);
    const views: Int32Array[] = [];
    return { column, view: (length: number) => (views[length] ??= column.subarray(0, length)) };
  };
  const tokens = make();
  const slots = make();
  const positions = make();
  const prompt = make();
  const logits = make();
  let rows = 0;
  let wanted = 0;
  return {
    rows: () => rows,
    logitCount: () => wanted,
    clear() {
      rows = 0;
      wanted = 0;
    },
    add(token: number, slot: number, position: number, inPrompt: boolean) {
      tokens.column[rows] = token;
      slots.column[rows] = slot;
      positions.column[rows] = position;
      prompt.column[rows] = inPrompt ? 1 : 0;
      rows++;
    },
    /** The row added last wants logits; returns the number of its row of logits. */
    wantLogits() {
      logits.column[wanted] = rows - 1;
      return wanted++;
    },
    batch: (): Batch => ({
      tokens: tokens.view(rows),
      slots: slots.view(rows),
      positions: positions.view(rows),
      prompt: prompt.view(rows),
      logits: logits.view(wanted),
    }),
  };
}
