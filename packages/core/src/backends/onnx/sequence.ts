import type { Tensor } from 'onnxruntime-node';
import type { AttentionOp } from '../../ops/op.ts';
import { pastName, presentName } from './names.ts';
import type { Runtime } from './runtime.ts';

/** Keys and values of one sequence: tensors `[1, kvHeads, length, headDim]` by the name of their input. */
export interface Sequence {
  readonly length: number;
  readonly past: Readonly<Record<string, Tensor>>;
}

/** The keys and values that a model of these attention ops takes and gives. */
export function sequences(runtime: Runtime, layers: readonly AttentionOp[]) {
  const names = layers.flatMap((op) =>
    (['key', 'value'] as const).map((role) => ({
      ...{ past: pastName(op.layer, role), present: presentName(op.layer, role) },
      ...{ kvHeads: op.kvHeads, headDim: op.headDim },
    })),
  );
  const make = (length: number, tensorOf: (name: (typeof names)[number]) => Tensor): Sequence => ({
    length,
    past: Object.fromEntries(names.map((name) => [name.past, tensorOf(name)])),
  });
  const tensor = (data: Float32Array, kvHeads: number, length: number, headDim: number) =>
    new runtime.Tensor('float32', data, [1, kvHeads, length, headDim]);
  return {
    /** Outputs that hold keys and values. */
    outputs: names.map(({ present }) => present),
    empty: make(0, ({ kvHeads, headDim }) => tensor(new Float32Array(0), kvHeads, 0, headDim)),
    /** A sequence from what the model gave. */
    of: (length: number, outputs: Readonly<Record<string, Tensor>>) => make(length, ({ present }) => outputs[present]!),
    /** The first tokens of a sequence. */
    truncate: (from: Sequence, length: number) =>
      make(length, ({ past, kvHeads, headDim }) => {
        const data = from.past[past]!.data as Float32Array;
        const kept = new Float32Array(kvHeads * length * headDim);
        for (let head = 0; head < kvHeads; head++) {
          const start = head * from.length * headDim;
          kept.set(data.subarray(start, start + length * headDim), head * length * headDim);
        }
        return tensor(kept, kvHeads, length, headDim);
      }),
  };
}

export const bytesOf = ({ past }: Sequence): number =>
  Object.values(past).reduce((sum, { size }) => sum + size * Float32Array.BYTES_PER_ELEMENT, 0);
