import type { CoreOpDefinition } from './define.ts';
import type { RmsNormOp } from './op.ts';

export const rmsNorm: CoreOpDefinition<RmsNormOp> = {
  kind: 'rmsNorm',
  shape(op, context) {
    const input = context.value('input', 'float');
    const { shape } = context.param('gain');
    context.require(
      shape.length === 1 && shape[0] === input.width,
      `the gain must be [${input.width}], not [${shape}]`,
    );
    context.require(op.epsilon > 0, 'epsilon must be above 0');
    return { output: input };
  },
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const gain = context.param('gain');
      const output = context.float('output');
      const width = context.width('input');
      for (let row = 0; row < context.rows('input'); row++) {
        const base = row * width;
        let sum = 0;
        for (let i = 0; i < width; i++) sum += input[base + i]! ** 2;
        const factor = 1 / Math.sqrt(sum / width + op.epsilon);
        for (let i = 0; i < width; i++) output[base + i] = input[base + i]! * factor * gain[i]!;
      }
    },
  },
};
