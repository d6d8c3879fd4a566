import type { CoreOpDefinition } from './define.ts';
import type { SelectRowsOp } from './op.ts';

export const selectRows: CoreOpDefinition<SelectRowsOp> = {
  kind: 'selectRows',
  shape(_op, context) {
    const input = context.value('input', 'float');
    context.require(input.rows === 'batch', 'the input already holds only the rows that want logits');
    return { output: { ...input, rows: 'logits' } };
  },
  kernels: {
    reference(_op, context) {
      const input = context.float('input');
      const output = context.float('output');
      const width = context.width('input');
      context.batch.logitRows.forEach((row, at) => {
        output.set(input.subarray(row * width, (row + 1) * width), at * width);
      });
    },
  },
};
