import type { Graph } from '../../../graph/graph.ts';
import type { LinearOp } from '../../../ops/op.ts';
import { float32Bits, type WasmCall, type WasmLayout } from '../abi.ts';
import type { LinearGroup } from '../packing/groups.ts';
import { channelFloat32Layout, channelInt8Layout, lineOffset, rowInt8Layout } from '../packing/layouts.ts';
import type { Precision } from '../packing/sections.ts';

const INT16_LARGEST = 32_767;

/**
 * Largest quantised activation with which sums over `inputs` products of an int16 and an int8 (at most 127) stay inside 32 bits:
 * integer sums that cannot overflow have the same bits in any order.
 */
export function activationCap(inputs: number): number {
  return Math.min(INT16_LARGEST, Math.floor((2 ** 31 - 1) / (127 * inputs)));
}

/** Linears with one record per input channel; `weight` is the address of their packed block. */
export function lowerGroup(group: LinearGroup, layout: WasmLayout, precision: Precision, weight: number): WasmCall[] {
  return precision === 'int8' ? groupInt8(group, layout, weight) : groupFloat32(group, layout, weight);
}

function groupInt8({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const first = ops[0]!;
  const rows = layout.rows(first.inputs.input);
  const output = layout.value(first.outputs.output);
  const packed = channelInt8Layout(outputs, inputs);
  const { channels, recordBytes, interleaved } = packed;
  const padded = recordBytes;
  // In interleaved records the lines of dead channels cost less than jumping over them: there, these channels are 0.
  const skips = first.inputs.channels !== undefined && !interleaved;
  const cap = activationCap(channels);
  const activations = quantizeCall(first, layout, weight + packed.channelScales, cap, skips ? recordBytes : 0);
  const partStride = padded * 4;
  const parts = layout.scratch(partStride * Math.max(layout.threads, layout.maxRows));
  const panelStride = channels * 32 * 2;
  return [
    ...activations.calls,
    {
      kernel: 'linearInt8',
      args: [
        ...[rows, activations.quantized, activations.stride, weight, recordBytes, channels, padded],
        ...(skips
          ? [activations.offsets, activations.count]
          : [denseOffsets(packed, layout), layout.table(`${channels}`, () => Int32Array.of(channels))]),
        ...[
          parts,
          partStride,
          partStride,
          layout.scratch(panelStride * layout.threads),
          panelStride,
          interleaved ? 3 : 0,
        ],
      ],
    },
    {
      kernel: 'finishInt8',
      args: [
        ...[rows, parts, partStride, partStride, padded, weight + packed.rowScales, activations.scales],
        ...[hasBias(ops) ? weight + packed.bias : 0, output.pointer, output.stride],
      ],
    },
  ];
}

/** Where the lines of every channel begin. */
function denseOffsets(packed: ReturnType<typeof channelInt8Layout>, layout: WasmLayout): number {
  const { channels, recordBytes } = packed;
  return layout.table(`offsets ${channels} ${recordBytes}`, () =>
    Int32Array.from({ length: channels }, (_, channel) => lineOffset(packed, channel, 0)),
  );
}

function groupFloat32({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const first = ops[0]!;
  const rows = layout.rows(first.inputs.input);
  const output = layout.value(first.outputs.output);
  const packed = channelFloat32Layout(outputs, inputs);
  const input = maskCall(first, layout);
  const lists = first.inputs.channels === undefined ? 0 : layout.value(first.inputs.channels).pointer;
  return [
    ...input.calls,
    {
      kernel: 'linearFloat32',
      args: [
        ...[rows, input.pointer, input.stride, lists, weight, packed.recordBytes, inputs, packed.columns],
        ...[hasBias(ops) ? weight + packed.bias : 0, output.pointer, output.stride],
      ],
    },
  ];
}

/** A linear with one row per output; `weight` is the address of its packed block. */
export function lowerOutputMajor(
  op: LinearOp,
  graph: Graph,
  layout: WasmLayout,
  precision: Precision,
  weight: number,
): WasmCall[] {
  const [outputs, inputs] = graph.params.get(op.params.weight)!.shape as [number, number];
  const rows = layout.rows(op.inputs.input);
  const output = layout.value(op.outputs.output);
  const bias = op.params.bias ? layout.param(op.params.bias) : 0;
  if (precision === 'float32') {
    const input = maskCall(op, layout);
    return [
      ...input.calls,
      {
        kernel: 'headFloat32',
        args: [
          rows,
          input.pointer,
          input.stride,
          weight,
          inputs * 4,
          inputs,
          outputs,
          bias,
          output.pointer,
          output.stride,
        ],
      },
    ];
  }
  const { groups, scales } = rowInt8Layout(outputs, inputs);
  const activations = quantizeCall(op, layout, 0, INT16_LARGEST, 0);
  return [
    ...activations.calls,
    {
      kernel: 'headInt8',
      args: [
        ...[rows, activations.quantized, activations.stride, activations.scales, weight, weight + scales],
        ...[groups, outputs, bias, output.pointer, output.stride],
      ],
    },
  ];
}

/** Activations to int16. `recordBytes` 0: rows stay in place, never compacted. */
function quantizeCall(op: LinearOp, layout: WasmLayout, channelScales: number, cap: number, recordBytes: number) {
  const input = layout.value(op.inputs.input);
  const lists = op.inputs.channels === undefined ? undefined : layout.value(op.inputs.channels);
  const stride = Math.ceil(input.width / 32) * 64;
  const quantized = layout.scratch(stride * layout.maxRows);
  const scales = layout.scratch(4 * layout.maxRows);
  const offsets = lists && recordBytes > 0 ? layout.scratch((input.width + 8) * 4) : 0;
  const count = layout.scratch(4);
  const call: WasmCall = {
    kernel: 'quantize',
    args: [
      ...[layout.rows(op.inputs.input), input.pointer, input.stride, input.width, channelScales],
      ...[
        lists?.pointer ?? 0,
        lists?.stride ?? 0,
        quantized,
        stride,
        scales,
        float32Bits(cap),
        offsets,
        count,
        recordBytes,
      ],
    ],
  };
  return { calls: [call], quantized, stride, scales, offsets, count };
}

/** The input of a float32 linear: itself, or a copy whose dead channels are 0. */
function maskCall(op: LinearOp, layout: WasmLayout): { calls: WasmCall[]; pointer: number; stride: number } {
  const input = layout.value(op.inputs.input);
  if (op.inputs.channels === undefined) return { calls: [], pointer: input.pointer, stride: input.stride };
  const lists = layout.value(op.inputs.channels);
  const pointer = layout.scratch(input.stride * layout.maxRows);
  const args = [
    layout.rows(op.inputs.input),
    input.pointer,
    input.stride,
    lists.pointer,
    lists.stride,
    pointer,
    input.stride,
    input.width,
  ];
  return { calls: [{ kernel: 'maskChannels', args }], pointer, stride: input.stride };
}

const hasBias = (ops: readonly LinearOp[]) => ops.some((op) => op.params.bias !== undefined);
