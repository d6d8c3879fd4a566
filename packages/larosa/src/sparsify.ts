import { type abiVersion, type CustomOp, defineOp, type OnnxBuilder, type WasmLayout } from '@llmopt/core';
import { lowerListedLinear } from './gpu/linear.ts';
import { lowerSparsify } from './gpu/select.ts';
import { wasmBase64 } from './kernels.generated.ts';

/** Attributes of the op: how many channels of each row stay alive. */
export interface SparsifyAttributes extends Record<string, number> {
  keep: number;
}

/** Indices of the `keep` largest numbers by magnitude, ascending; of equals at the border the first. */
export function topK(row: Float32Array, keep: number): Int32Array {
  const order = Array.from(row.keys()).sort((a, b) => Math.abs(row[b]!) - Math.abs(row[a]!) || a - b);
  return Int32Array.from(order.slice(0, keep)).sort();
}

/**
 * `larosa.sparsify`: the channels of each row that stay alive, exactly `keep` of them (paper section 4.2: Top-K by magnitude, per
 * token). Only makes the list; `linear` skips the rest.
 */
export const sparsifyDefinition = defineOp({
  kind: 'larosa.sparsify',
  shape(op, context) {
    const input = context.value('input', 'float');
    const { keep } = op.attributes as SparsifyAttributes;
    context.require(
      Number.isInteger(keep) && keep >= 1 && keep <= input.width,
      `keep is ${keep}, not in 1 … ${input.width}`,
    );
    return { channels: { ...input, kind: 'channels', most: keep } };
  },
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const lists = context.channels('channels');
      const width = context.width('input');
      for (let row = 0; row < lists.length; row++) {
        lists[row] = topK(input.subarray(row * width, (row + 1) * width), (op.attributes as SparsifyAttributes).keep);
      }
    },
    wasm: {
      module: { name: 'larosa', abiVersion: 2 satisfies typeof abiVersion, base64: wasmBase64 },
      lower(op: CustomOp, layout: WasmLayout) {
        const input = layout.value(op.inputs.input!);
        const output = layout.value(op.outputs.channels!);
        const { keep } = op.attributes as SparsifyAttributes;
        return [
          {
            kernel: 'sparsify',
            args: [
              layout.rows(op.inputs.input!),
              input.pointer,
              input.stride,
              input.width,
              keep,
              output.pointer,
              output.stride,
            ],
          },
        ];
      },
    },
    // Of equals, TopK takes the lower index, too.
    onnx(op: CustomOp, build: OnnxBuilder) {
      const input = build.input('input');
      const { keep } = op.attributes as SparsifyAttributes;
      const [, kept] = build.nodes('TopK', [build.node('Abs', [input]), build.ints([keep])], 2, {
        axis: -1n,
        sorted: 0n,
      });
      const none = build.node('ConstantOfShape', [build.node('Shape', [input])]);
      const ones = build.node('Expand', [build.floats(1), build.node('Shape', [kept!])]);
      return { channels: build.node('ScatterElements', [none, kept!, ones], { axis: -1n }) };
    },
    gpu: { lower: lowerSparsify, linear: lowerListedLinear },
  },
});
