import type { CoreOpDefinition } from './define.ts';
import type { LayerNormOp } from './op.ts';

export const layerNorm: CoreOpDefinition<LayerNormOp> = {
  kind: 'layerNorm',
  shape(op, context) {
    const input = context.value('input', 'float');
    for (const role of ['gain', 'bias']) {
      const { shape } = context.param(role);
      context.require(
        shape.length === 1 && shape[0] === input.width,
        `the ${role} must be [${input.width}], not [${shape}]`,
      );
    }
    context.require(op.epsilon > 0, 'epsilon must be above 0');
    return { output: input };
  },
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const gain = context.param('gain');
      const bias = context.param('bias');
      const output = context.float('output');
      const width = context.width('input');
      for (let row = 0; row < context.rows('input'); row++) {
        const base = row * width;
        let sum = 0;
        for (let i = 0; i < width; i++) sum += input[base + i]!;
        const mean = sum / width;
        let squares = 0;
        for (let i = 0; i < width; i++) squares += (input[base + i]! - mean) ** 2;
        const factor = 1 / Math.sqrt(squares / width + op.epsilon);
        for (let i = 0; i < width; i++) output[base + i] = (input[base + i]! - mean) * factor * gain[i]! + bias[i]!;
      }
    },
  },
};
