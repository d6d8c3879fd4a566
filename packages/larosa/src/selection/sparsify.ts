import { type abiVersion, type CustomOp, defineOp, float32Bits, type WasmLayout } from '@llmopt/core';
import { wasmBase64 } from '../kernels.generated.ts';
import { reaching, topK, weighted } from './choose.ts';
import { lowerListedLinear } from './gpu/linear.ts';
import { lowerSparsify } from './gpu/select.ts';
import { sparsifyOnnx } from './onnx.ts';

// assembly/list.ts and assembly/sparsify.ts
const SHUFFLES_BYTES = 320;
const HINT_BYTES = 64;

/** What becomes of the rows of a prompt: all channels stay alive, or as many as of any other row. */
export type Prefill = 'dense' | 'sparse';

/** `magnitude`: |x|; `weighted`: |x| times the norm of the weights' column, over all linears that share the input. */
export type Score = 'magnitude' | 'weighted';

/**
 * Attributes of the op: either `keep`, how many channels of a row stay alive, or `threshold`, the score from which on they do. The score is
 * the magnitude, times the parameter `norms` `[width]` where the op has it. With a threshold, `expected` may say how many channels that are.
 */
export interface SparsifyAttributes extends Record<string, number | string> {
  prefill: Prefill;
}

/** How many channels stay alive, or from which score on; the other of the two is undefined. */
export function selectionOf(op: CustomOp): {
  keep?: number;
  threshold?: number;
  expected?: number;
  prefill: Prefill;
} {
  return op.attributes as SparsifyAttributes;
}

/**
 * `larosa.sparsify`: the channels of each row that stay alive. With `keep` exactly so many, those of the largest scores (paper section
 * 4.2: Top-K per token); with `threshold` those whose score reaches it (TEAL), but at least one. With `prefill: 'dense'` the rows of
 * prompts keep all. Only makes the list; `linear` skips the rest.
 */
export const sparsifyDefinition = defineOp({
  kind: 'larosa.sparsify',
  shape(op, context) {
    const input = context.value('input', 'float');
    const { width } = input;
    const { keep, threshold, expected, prefill } = selectionOf(op);
    context.require(prefill === 'sparse' || prefill === 'dense', `prefill is ${prefill}, not dense or sparse`);
    context.require(input.rows === 'batch', 'its input has a row per row of logits, not of the batch');
    context.require((keep === undefined) !== (threshold === undefined), 'it must have either keep or a threshold');
    if (context.has('norms')) {
      const { shape } = context.param('norms');
      context.require(shape.length === 1 && shape[0] === width, `the norms must be [${width}], not [${shape}]`);
    }
    if (keep === undefined) {
      context.require(
        threshold! >= 0 && threshold! < Infinity,
        `the threshold is ${threshold}, not a number from 0 on`,
      );
      return { channels: { ...input, kind: 'channels', ...(expected !== undefined && { most: expected }) } };
    }
    context.require(Number.isInteger(keep) && keep >= 1 && keep <= width, `keep is ${keep}, not in 1 … ${width}`);
    return { channels: { ...input, kind: 'channels', most: keep } };
  },
  promptsDiffer: (op) => selectionOf(op).prefill === 'dense',
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const lists = context.channels('channels');
      const width = context.width('input');
      const { keep, threshold, prefill } = selectionOf(op);
      const norms = context.has('norms') ? context.param('norms') : undefined;
      for (let row = 0; row < lists.length; row++) {
        const x = input.subarray(row * width, (row + 1) * width);
        const score = norms ? weighted(x, norms) : x;
        if (prefill === 'dense' && context.batch.prompt[row] === 1) lists[row] = topK(x, width);
        else lists[row] = keep === undefined ? reaching(score, threshold!) : topK(score, keep);
      }
    },
    wasm: {
      module: { name: 'larosa', abiVersion: 2 satisfies typeof abiVersion, base64: wasmBase64 },
      lower(op: CustomOp, layout: WasmLayout) {
        const input = layout.value(op.inputs.input!);
        const output = layout.value(op.outputs.channels!);
        const { keep, threshold, prefill } = selectionOf(op);
        const { norms } = op.params;
        const scores = norms === undefined ? 0 : layout.scratch(input.stride * layout.threads);
        return [
          {
            kernel: 'sparsify',
            args: [
              ...[layout.rows(op.inputs.input!), input.pointer, input.stride, input.width],
              ...[keep ?? 0, float32Bits(Math.abs(threshold ?? 0)), output.pointer, output.stride],
              prefill === 'dense' ? layout.batch.prompt : 0,
              ...[norms === undefined ? 0 : layout.param(norms), scores, input.stride],
              // Used for nothing else, so that they last from step to step. Each thread has hints of its own where it has lists of its own: a line
              // of memory that several write to would go back and forth.
              layout.commonScratch('larosa shuffles', SHUFFLES_BYTES),
              layout.commonScratch(`larosa hint ${op.outputs.channels} ${output.pointer}`, HINT_BYTES),
            ],
          },
        ];
      },
    },
    onnx: sparsifyOnnx,
    gpu: { lower: lowerSparsify, linear: lowerListedLinear },
  },
});
