import { type abiVersion, type CustomOp, defineOp, type OnnxBuilder, type WasmLayout } from '@llmopt/core';
import { wasmBase64 } from '../kernels.generated.ts';
import { lowerListedLinear } from './gpu/linear.ts';
import { lowerSparsify } from './gpu/select.ts';

/** Attributes of the op. */
export interface SparsifyAttributes extends Record<string, number | string> {
  /** How many channels of each row stay alive. */
  keep: number;
  /** `dense`: in the rows of a prompt all channels stay alive. */
  prefill: Prefill;
}

/** What becomes of the rows of a prompt: all channels, or as many as of any other row. */
export type Prefill = 'dense' | 'sparse';

/** Indices of the `keep` largest numbers by magnitude, ascending; of equals at the border the first. */
export function topK(row: Float32Array, keep: number): Int32Array {
  const order = Array.from(row.keys()).sort((a, b) => Math.abs(row[b]!) - Math.abs(row[a]!) || a - b);
  return Int32Array.from(order.slice(0, keep)).sort();
}

/**
 * `larosa.sparsify`: the channels of each row that stay alive, exactly `keep` of them (paper section 4.2: Top-K by magnitude, per
 * token). With `prefill: 'dense'` the rows of prompts keep all. Only makes the list; `linear` skips the rest.
 */
export const sparsifyDefinition = defineOp({
  kind: 'larosa.sparsify',
  shape(op, context) {
    const input = context.value('input', 'float');
    const { keep, prefill } = op.attributes as SparsifyAttributes;
    context.require(prefill === 'sparse' || prefill === 'dense', `prefill is ${prefill}, not dense or sparse`);
    context.require(input.rows === 'batch', 'its input has a row per row of logits, not of the batch');
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
      const { keep, prefill } = op.attributes as SparsifyAttributes;
      for (let row = 0; row < lists.length; row++) {
        const dense = prefill === 'dense' && context.batch.prompt[row] === 1;
        lists[row] = dense
          ? Int32Array.from({ length: width }, (_, i) => i)
          : topK(input.subarray(row * width, (row + 1) * width), keep);
      }
    },
    wasm: {
      module: { name: 'larosa', abiVersion: 2 satisfies typeof abiVersion, base64: wasmBase64 },
      lower(op: CustomOp, layout: WasmLayout) {
        const input = layout.value(op.inputs.input!);
        const output = layout.value(op.outputs.channels!);
        const { keep, prefill } = op.attributes as SparsifyAttributes;
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
              prefill === 'dense' ? layout.batch.prompt : 0,
            ],
          },
        ];
      },
    },
    // Of equals, TopK takes the lower index, too.
    onnx(op: CustomOp, build: OnnxBuilder) {
      const input = build.input('input');
      const { keep, prefill } = op.attributes as SparsifyAttributes;
      const [, kept] = build.nodes('TopK', [build.node('Abs', [input]), build.ints([keep])], 2, {
        axis: -1n,
        sorted: 0n,
      });
      const none = build.node('ConstantOfShape', [build.node('Shape', [input])]);
      const ones = build.node('Expand', [build.floats(1), build.node('Shape', [kept!])]);
      const mask = build.node('ScatterElements', [none, kept!, ones], { axis: -1n });
      const prompt = prefill === 'dense' ? build.promptRows() : undefined;
      return { channels: prompt === undefined ? mask : build.node('Max', [mask, prompt]) };
    },
    gpu: { lower: lowerSparsify, linear: lowerListedLinear },
  },
});
