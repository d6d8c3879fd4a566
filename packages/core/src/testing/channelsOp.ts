import type { GpuMatrix, GpuThread } from '../backends/gpu/abi.ts';
import { abiVersion } from '../backends/wasm/abi.ts';
import { type Graph, mapOps } from '../graph/graph.ts';
import { defineOp, type OpDefinition } from '../ops/define.ts';
import type { CustomOp } from '../ops/op.ts';
import { wasmBase64 } from './kernels.generated.ts';

/**
 * `testing.channels`: of each row of its input the channels whose number is above 0. With it `linear` computes what it would of an
 * input without its negative numbers, so that small errors of the input stay small. The attribute `most`, where it is there, promises
 * that a list is no longer.
 */
export const channelsAboveZero = defineOp({
  kind: 'testing.channels',
  shape(op, context) {
    const input = context.value('input', 'float');
    const { most } = op.attributes as { most?: number };
    return { channels: { ...input, kind: 'channels', ...(most === undefined ? {} : { most }) } };
  },
  kernels: {
    reference(_op, context) {
      const input = context.float('input');
      const lists = context.channels('channels');
      const width = context.width('input');
      for (let row = 0; row < lists.length; row++) {
        const numbers = input.subarray(row * width, (row + 1) * width);
        lists[row] = Int32Array.from(numbers.keys()).filter((channel) => numbers[channel]! > 0);
      }
    },
    wasm: {
      module: { name: 'testing', abiVersion, base64: wasmBase64 },
      lower(op, layout) {
        const input = layout.value(op.inputs.input!);
        const output = layout.value(op.outputs.channels!);
        const rows = layout.rows(op.inputs.input!);
        const args = [rows, input.pointer, input.stride, input.width, output.pointer, output.stride];
        return [{ kernel: 'channelsAboveZero', args }];
      },
    },
    // 1n: float
    onnx: (_op, build) => ({
      channels: build.node('Cast', [build.node('Greater', [build.input('input'), build.floats(0)])], { to: 1n }),
    }),
    gpu: {
      lower: (op, layout) => [
        {
          kernel: aboveZero,
          tensors: [layout.value(op.inputs.input!)],
          output: layout.value(op.outputs.channels!),
        },
      ],
    },
  },
});

function aboveZero(this: GpuThread, input: GpuMatrix): number {
  let alive = 0;
  if (input[this.thread.y]![this.thread.x]! > 0) alive = 1;
  return alive;
}

/** The op that lists the channels of `input`. */
export function channelsOp(
  definition: OpDefinition<CustomOp>,
  input: string,
  channels: string,
  options: { layer?: number; most?: number } = {},
): CustomOp {
  const { layer, most } = options;
  return {
    kind: definition.kind,
    ...(layer === undefined ? {} : { layer }),
    inputs: { input },
    outputs: { channels },
    params: {},
    attributes: most === undefined ? {} : { most },
    definition,
  };
}

/** The graph with channel lists in front of every linear of its layers; linears of one input share the list. */
export function withChannels(graph: Graph, definition: OpDefinition<CustomOp> = channelsAboveZero): Graph {
  const listed = new Set<string>();
  return mapOps(graph, (op) => {
    if (op.kind !== 'linear' || op.layer === undefined) return op;
    const { input } = op.inputs;
    const channels = `${input}.channels`;
    const linear = { ...op, inputs: { input, channels } };
    if (listed.has(channels)) return linear;
    listed.add(channels);
    return [channelsOp(definition, input, channels, { layer: op.layer }), linear];
  });
}
