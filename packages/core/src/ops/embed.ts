import type { CoreOpDefinition } from './define.ts';
import type { EmbedOp } from './op.ts';

export const embed: CoreOpDefinition<EmbedOp> = {
  kind: 'embed',
  shape(_op, context) {
    const { shape } = context.param('weight');
    context.require(shape.length === 2, `the weight must be [vocabulary, width], not [${shape}]`);
    return { output: { kind: 'float', width: shape[1]!, rows: 'batch' } };
  },
  kernels: {
    reference(_op, context) {
      const { tokens } = context.batch;
      const weight = context.param('weight');
      const output = context.float('output');
      const width = context.width('output');
      for (let row = 0; row < tokens.length; row++) {
        const token = tokens[row]!;
        output.set(weight.subarray(token * width, (token + 1) * width), row * width);
      }
    },
  },
};
