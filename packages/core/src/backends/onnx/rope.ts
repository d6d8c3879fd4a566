import type { RopeOp } from '../../ops/op.ts';
import { ropeAngle, ropePair } from '../../ops/rope.ts';
import type { CoreKernel } from './kernels.ts';

/**
 * x · cos + partner(x) · ±sin, where the partner of a number is the one that turns with it. A number that does not turn is its own
 * partner, with cos 1 and sin 0. Cosines and sines come from tables: angles in float32 are too coarse at far positions.
 */
export const rope: CoreKernel<RopeOp> = (op, build, { builder, positions, contextLength }) => {
  const { headDim } = op;
  const width = build.width('input');
  const partners = Array.from({ length: headDim }, (_, i) => i);
  const signs = new Float32Array(headDim);
  const pairOf = new Array<number>(headDim).fill(op.rotaryDim / 2);
  for (let pair = 0; pair < op.rotaryDim / 2; pair++) {
    const [first, second] = ropePair(op, pair);
    partners[first] = second;
    partners[second] = first;
    signs[first] = -1;
    signs[second] = 1;
    pairOf[first] = pair;
    pairOf[second] = pair;
  }
  // [rows, 1, headDim]
  const spread = (table: string) => {
    const ofRows = builder.node('Gather', [table, positions]);
    const ofNumbers = builder.node('Gather', [ofRows, builder.ints(pairOf)], { axis: 1n });
    return builder.node('Unsqueeze', [ofNumbers, builder.ints([1])]);
  };
  const key = `rope ${op.base} ${op.rotaryDim}`;
  const table = (name: 'cos' | 'sin') =>
    builder.shared(`${key} ${name}`, () =>
      builder.floats(ropeTable(op, contextLength, Math[name]), [contextLength, op.rotaryDim / 2 + 1]),
    );
  const own = `${key} ${headDim} ${op.pairing}`;
  const cos = builder.shared(`${own} cos`, () => spread(table('cos')));
  const sin = builder.shared(`${own} sin`, () => builder.node('Mul', [spread(table('sin')), builder.floats(signs)]));

  const heads = build.node('Reshape', [build.input('input'), build.ints([-1, width / headDim, headDim])]);
  const partner = build.node('Gather', [heads, build.ints(partners)], { axis: 2n });
  const turned = build.node('Add', [build.node('Mul', [heads, cos]), build.node('Mul', [partner, sin])]);
  return { output: build.node('Reshape', [turned, build.ints([-1, width])]) };
};

/** `[positions, pairs + 1]`: `f` of the angle of each pair, then of no angle. */
function ropeTable(op: RopeOp, positions: number, f: (angle: number) => number): Float32Array {
  const columns = op.rotaryDim / 2 + 1;
  const table = new Float32Array(positions * columns).fill(f(0));
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < columns - 1; pair++) table[position * columns + pair] = f(ropeAngle(op, position, pair));
  }
  return table;
}
