import type { CoreOpDefinition } from './define.ts';
import type { RopeOp } from './op.ts';

/** Angle in radians by which pair `pair` turns at a position. */
export function ropeAngle(op: RopeOp, position: number, pair: number): number {
  return position * op.base ** ((-2 * pair) / op.rotaryDim);
}

/** The two indices within a head that turn together as pair `pair`. */
export function ropePair(op: RopeOp, pair: number): [number, number] {
  return op.pairing === 'neighbours' ? [2 * pair, 2 * pair + 1] : [pair, pair + op.rotaryDim / 2];
}

export const rope: CoreOpDefinition<RopeOp> = {
  kind: 'rope',
  shape(op, context) {
    const input = context.value('input', 'float');
    context.require(
      input.rows === 'batch',
      'positions are those of the batch, but the input holds only rows that want logits',
    );
    context.require(input.width % op.headDim === 0, `width ${input.width} is no multiple of headDim ${op.headDim}`);
    context.require(
      op.rotaryDim % 2 === 0 && op.rotaryDim <= op.headDim,
      `rotaryDim ${op.rotaryDim} must be even and at most headDim`,
    );
    context.require(op.base > 0, 'base must be above 0');
    return { output: input };
  },
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const output = context.float('output');
      const width = context.width('input');
      output.set(input);
      for (let row = 0; row < context.rows('input'); row++) {
        for (let pair = 0; pair < op.rotaryDim / 2; pair++) {
          const angle = ropeAngle(op, context.batch.positions[row]!, pair);
          const cos = Math.cos(angle);
          const sin = Math.sin(angle);
          const [first, second] = ropePair(op, pair);
          for (let head = 0; head < width; head += op.headDim) {
            const a = row * width + head + first;
            const b = row * width + head + second;
            const x = input[a]!;
            const y = input[b]!;
            output[a] = x * cos - y * sin;
            output[b] = x * sin + y * cos;
          }
        }
      }
    },
  },
};
