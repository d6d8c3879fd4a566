import type { CoreOpDefinition } from './define.ts';
import type { LinearOp } from './op.ts';

export const linear: CoreOpDefinition<LinearOp> = {
  kind: 'linear',
  shape(_op, context) {
    const input = context.value('input', 'float');
    const { shape } = context.param('weight');
    context.require(
      shape.length === 2 && shape[1] === input.width,
      `the weight must be [out, ${input.width}], not [${shape}]`,
    );
    if (context.has('bias')) {
      const bias = context.param('bias').shape;
      context.require(bias.length === 1 && bias[0] === shape[0], `the bias must be [${shape[0]}], not [${bias}]`);
    }
    if (context.has('channels')) {
      const channels = context.value('channels', 'channels');
      context.require(
        channels.width === input.width && channels.rows === input.rows,
        `the channels are those of ${channels.width} inputs, not of ${input.width}`,
      );
    }
    return { output: { kind: 'float', width: shape[0]!, rows: input.rows } };
  },
  kernels: {
    reference(_op, context) {
      const input = context.float('input');
      const weight = context.param('weight');
      const bias = context.has('bias') ? context.param('bias') : undefined;
      const lists = context.has('channels') ? context.channels('channels') : undefined;
      const output = context.float('output');
      const inputs = context.width('input');
      const outputs = context.width('output');
      for (let row = 0; row < context.rows('input'); row++) {
        const x = lists
          ? onlyChannels(input, row * inputs, inputs, lists[row]!)
          : input.subarray(row * inputs, (row + 1) * inputs);
        for (let out = 0; out < outputs; out++) {
          output[row * outputs + out] = dot(x, weight, out * inputs) + (bias ? bias[out]! : 0);
        }
      }
    },
  },
};

function onlyChannels(input: Float32Array, base: number, width: number, list: Int32Array): Float32Array {
  const x = new Float32Array(width);
  for (const channel of list) x[channel] = input[base + channel]!;
  return x;
}

// Four sums side by side: several times faster than one, and no less precise.
function dot(x: Float32Array, weight: Float32Array, base: number): number {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  let i = 0;
  for (; i + 4 <= x.length; i += 4) {
    a += x[i]! * weight[base + i]!;
    b += x[i + 1]! * weight[base + i + 1]!;
    c += x[i + 2]! * weight[base + i + 2]!;
    d += x[i + 3]! * weight[base + i + 3]!;
  }
  for (; i < x.length; i++) a += x[i]! * weight[base + i]!;
  return a + b + c + d;
}
