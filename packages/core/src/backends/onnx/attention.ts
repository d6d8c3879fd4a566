import type { AttentionOp } from '../../ops/op.ts';
import type { ModelBuilder } from './builder.ts';
import type { CoreKernel, ModelTensors } from './kernels.ts';
import { inputNames, pastName, presentName } from './names.ts';

// Far below any score, and finite: a row that may see nothing gets no NaN.
const LOWEST = -3.4028234663852886e38;

/**
 * Attention over the keys and values of before and those of now. The query heads that share a KV head lie one under the other in one
 * matrix, so that no keys or values are repeated.
 */
export const attention: CoreKernel<AttentionOp> = (op, build, model) => {
  const { builder, batchShape } = model;
  const { layer, heads, kvHeads, headDim } = op;
  const group = heads / kvHeads;
  const split = (tensor: string, ...dims: number[]) =>
    build.node('Reshape', [
      tensor,
      builder.shared(`rows as ${dims}`, () => builder.node('Concat', [batchShape, builder.ints(dims)], { axis: 0n })),
    ]);

  // [batch, kvHeads, group · sequence, headDim]
  const scaled = build.node('Mul', [build.input('query'), build.floats(op.scale)]);
  const grouped = build.node('Transpose', [split(scaled, kvHeads, group, headDim)], { perm: [0n, 2n, 3n, 1n, 4n] });
  const query = build.node('Reshape', [grouped, build.ints([0, 0, -1, headDim])]);
  // [batch, kvHeads, past + sequence, headDim]
  const present = (role: 'key' | 'value') => {
    const rows = build.node('Transpose', [split(build.input(role), kvHeads, headDim)], { perm: [0n, 2n, 1n, 3n] });
    return builder.nodeAs(presentName(layer, role), 'Concat', [pastName(layer, role), rows], { axis: 2n });
  };
  const keys = build.node('Transpose', [present('key')], { perm: [0n, 1n, 3n, 2n] });
  const scores = build.node('Add', [
    build.node('MatMul', [query, keys]),
    groupMask(model, group, pastName(layer, 'key')),
  ]);
  const weights = build.node('Softmax', [scores], { axis: -1n });
  const mixed = build.node('MatMul', [weights, present('value')]);

  const apart = build.node('Reshape', [mixed, build.ints([0, 0, group, -1, headDim])]);
  const inOrder = build.node('Transpose', [apart], { perm: [0n, 3n, 1n, 2n, 4n] });
  return { output: build.node('Reshape', [inOrder, build.ints([-1, heads * headDim])]) };
};

/** `[batch, 1, group · sequence, past + sequence]`: 0 where a row may look, else the lowest float. */
function groupMask({ builder, batchShape }: ModelTensors, group: number, pastKey: string): string {
  const one = builder.shared('mask', () => causalMask(builder, batchShape, pastKey));
  if (group === 1) return one;
  return builder.shared(`mask of ${group}`, () =>
    builder.node('Concat', new Array<string>(group).fill(one), { axis: 2n }),
  );
}

function causalMask(builder: ModelBuilder, batchShape: string, pastKey: string): string {
  const dim = (shape: string, index: number) => builder.node('Gather', [shape, builder.ints(index)]);
  const past = dim(builder.node('Shape', [pastKey]), 2);
  const total = builder.node('Add', [past, dim(batchShape, 1)]);
  const steps = (from: string) => builder.node('Range', [from, total, builder.ints(1)]);
  const rows = builder.node('Unsqueeze', [steps(past), builder.ints([1])]);
  const before = builder.node('LessOrEqual', [steps(builder.ints(0)), rows]);
  const attended = builder.node('Cast', [builder.node('Unsqueeze', [inputNames.mask, builder.ints([1])])], { to: 9n });
  const allowed = builder.node('And', [before, attended]);
  const mask = builder.node('Where', [allowed, builder.floats(0), builder.floats(LOWEST)]);
  return builder.node('Unsqueeze', [mask, builder.ints([1])]);
}
