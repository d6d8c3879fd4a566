import type { CoreOpDefinition } from './define.ts';
import type { AddOp } from './op.ts';

export const add: CoreOpDefinition<AddOp> = {
  kind: 'add',
  shape(_op, context) {
    const left = context.value('left', 'float');
    const right = context.value('right', 'float');
    context.require(
      left.width === right.width && left.rows === right.rows,
      `left is ${left.width} wide, right ${right.width}`,
    );
    return { output: left };
  },
  kernels: {
    reference(_op, context) {
      const left = context.float('left');
      const right = context.float('right');
      const output = context.float('output');
      for (let i = 0; i < output.length; i++) output[i] = left[i]! + right[i]!;
    },
  },
};
