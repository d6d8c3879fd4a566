import type { RopeOp } from '../../../ops/op.ts';
import { ropeAngle, ropePair } from '../../../ops/rope.ts';
import type { GpuKernel, GpuMatrix, GpuThread, GpuVector } from '../abi.ts';

// turns[position]: for each column of a head the cosine, then for each the signed sine of its partner.
function turn(
  this: GpuThread<'headDim'>,
  input: GpuMatrix,
  turns: GpuMatrix,
  partners: GpuVector,
  positions: GpuVector,
): number {
  const head = this.constants.headDim * Math.floor((this.thread.x + 0.5) / this.constants.headDim);
  const column = this.thread.x - head;
  const position = positions[this.thread.y]!;
  return (
    input[this.thread.y]![this.thread.x]! * turns[position]![column]! +
    input[this.thread.y]![head + partners[column]!]! * turns[position]![column + this.constants.headDim]!
  );
}

export const rope: GpuKernel<RopeOp> = {
  lower(op, layout) {
    const { headDim, rotaryDim, base, pairing } = op;
    const positions = layout.contextLength;
    const key = `${headDim} ${rotaryDim} ${base} ${pairing}`;
    return [
      {
        kernel: turn,
        constants: { headDim },
        tensors: [
          layout.value(op.inputs.input),
          layout.table(`rope ${key}`, [2 * headDim, positions], () => turnsOf(op, positions)),
          layout.table(`rope partners ${key}`, [headDim], () => partnersOf(op)),
          layout.positions,
        ],
        output: layout.value(op.outputs.output),
      },
    ];
  },
};

// Angles of long positions need more digits than a shader's sine has, so they are made here.
function turnsOf(op: RopeOp, positions: number): Float32Array {
  const width = 2 * op.headDim;
  const turns = new Float32Array(positions * width);
  for (let position = 0; position < positions; position++) {
    const row = turns.subarray(position * width, (position + 1) * width);
    row.fill(1, 0, op.headDim);
    for (let pair = 0; pair < op.rotaryDim / 2; pair++) {
      const angle = ropeAngle(op, position, pair);
      const [first, second] = ropePair(op, pair);
      row[first] = Math.cos(angle);
      row[second] = row[first]!;
      row[op.headDim + first] = -Math.sin(angle);
      row[op.headDim + second] = Math.sin(angle);
    }
  }
  return turns;
}

function partnersOf(op: RopeOp): Float32Array {
  const partners = Float32Array.from({ length: op.headDim }, (_, column) => column);
  for (let pair = 0; pair < op.rotaryDim / 2; pair++) {
    const [first, second] = ropePair(op, pair);
    partners[first] = second;
    partners[second] = first;
  }
  return partners;
}
