import type { Graph } from '../../../graph/graph.ts';
import type { LinearOp } from '../../../ops/op.ts';
import { float32Bits, type WasmCall, type WasmLayout } from '../abi.ts';
import type { LinearGroup } from '../packing/groups.ts';
import {
  channelFloat32Layout,
  headInt8Layout,
  recordInt8Layout,
  tileInt8Layout,
  tileInt16Layout,
} from '../packing/layouts.ts';
import type { Precision } from '../packing/sections.ts';

const INT16_LARGEST = 32_767;

/**
 * Largest quantised activation with which sums over `inputs` products of an int16 and an int8 (at most 127) stay inside 32 bits:
 * integer sums that cannot overflow have the same bits in any order.
 */
export function activationCap(inputs: number): number {
  return Math.min(INT16_LARGEST, Math.floor((2 ** 31 - 1) / (127 * inputs)));
}

/** Linears that share their input; `weight` is the address of their packed block. */
export function lowerGroup(group: LinearGroup, layout: WasmLayout, precision: Precision, weight: number): WasmCall[] {
  if (precision === 'float32') return groupFloat32(group, layout, weight);
  return group.precise ? groupInt16(group, layout, weight) : groupInt8(group, layout, weight);
}

function groupInt8(group: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  if (group.int8 === 'tiles') return tilesRows(group, layout, weight);
  return layout.oneRow ? oneRecordsRow(group, layout, weight) : recordsRows(group, layout, weight);
}

function tilesRows({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const packed = tileInt8Layout(outputs, inputs);
  const activations = quantizeCall(ops[0]!, layout, weight + packed.channelScales, activationCap(inputs));
  const words = tileWords(ops, activations, layout, weight, packed);
  return [activations.call, { kernel: 'linearInt8', split: true, args: words }];
}

function tileWords(
  ops: readonly LinearOp[],
  activations: { quantized: number; stride: number; scales: number },
  layout: WasmLayout,
  weight: number,
  packed: { pairs: number; tiles: number; rowScales: number; bias: number },
): number[] {
  const { inputs, outputs } = ops[0]!;
  const output = layout.value(outputs.output);
  return [
    ...[layout.rows(inputs.input), activations.quantized, activations.stride, activations.scales],
    ...[weight, packed.pairs, packed.tiles, weight + packed.rowScales, hasBias(ops) ? weight + packed.bias : 0],
    ...[output.pointer, output.stride],
    ...(layout.oneRow ? [0, 0] : [layout.scratch(packed.pairs * 64 * layout.threads), packed.pairs * 64]),
    ...layout.counters(),
  ];
}

function oneRecordsRow({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const first = ops[0]!;
  const rows = layout.rows(first.inputs.input);
  const packed = recordInt8Layout(outputs, inputs);
  const { recordBytes } = packed;
  const channelScales = weight + packed.channelScales;
  const activations = quantizeRecordsCall(first, layout, channelScales, activationCap(inputs), recordBytes);
  const { quantized, offsets, count, scale } = activations;
  const partStride = recordBytes * 4 + 64;
  const parts = layout.commonScratch('records', partStride * layout.threads);
  const bias = hasBias(ops) ? weight + packed.bias : 0;
  return [
    activations.call,
    {
      kernel: 'recordsInt8',
      split: true,
      args: [rows, quantized, offsets, count, weight, recordBytes, parts, partStride],
    },
    {
      kernel: 'finishRecords',
      split: true,
      args: [
        ...[rows, parts, partStride, recordBytes, weight + packed.rowScales, scale, bias],
        layout.value(first.outputs.output).pointer,
      ],
    },
  ];
}

function recordsRows({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const packed = recordInt8Layout(outputs, inputs);
  const pairs = Math.ceil(inputs / 2);
  const activations = quantizeCall(ops[0]!, layout, weight + packed.channelScales, activationCap(inputs));
  const words = tileWords(ops, activations, layout, weight, { ...packed, pairs, tiles: packed.recordBytes / 32 });
  const tileBytes = pairs * 64;
  const tiles = layout.scratch(tileBytes * layout.threads);
  return [
    activations.call,
    { kernel: 'recordsInt8Rows', split: true, args: [...words, packed.recordBytes, tiles, tileBytes] },
  ];
}

function groupInt16({ ops, inputs, outputs }: LinearGroup, layout: WasmLayout, weight: number): WasmCall[] {
  const first = ops[0]!;
  const output = layout.value(first.outputs.output);
  const packed = tileInt16Layout(outputs, inputs);
  const input = maskCall(first, layout);
  return [
    ...input.calls,
    {
      kernel: 'linearInt16',
      split: true,
      args: [
        ...[layout.rows(first.inputs.input), input.pointer, input.stride, weight, inputs, packed.tiles],
        ...[weight + packed.rowScales, hasBias(ops) ? weight + packed.bias : 0, output.pointer, output.stride],
        ...layout.counters(),
      ],
    },
  ];
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
      split: true,
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
        split: true,
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
  const { groups, tiles, scales } = headInt8Layout(outputs, inputs);
  const activations = quantizeCall(op, layout, 0, INT16_LARGEST);
  return [
    activations.call,
    {
      kernel: 'headInt8',
      split: true,
      args: [
        ...[rows, activations.quantized, activations.stride, activations.scales, weight, weight + scales],
        ...[groups, tiles, bias, output.pointer, output.stride, ...layout.counters()],
      ],
    },
  ];
}

/** Activations to int16, in place: what is not alive is 0. */
function quantizeCall(op: LinearOp, layout: WasmLayout, channelScales: number, cap: number) {
  const input = layout.value(op.inputs.input);
  const lists = op.inputs.channels === undefined ? undefined : layout.value(op.inputs.channels);
  const stride = Math.ceil(input.width / 32) * 64;
  const quantized = layout.scratch(stride * layout.maxRows);
  const scales = layout.scratch(4 * layout.maxRows);
  const call: WasmCall = {
    kernel: 'quantize',
    args: [
      ...[layout.rows(op.inputs.input), input.pointer, input.stride, input.width, channelScales],
      ...[lists?.pointer ?? 0, lists?.stride ?? 0, quantized, stride, scales, float32Bits(cap)],
    ],
  };
  return { call, quantized, stride, scales };
}

/** The activations of a single row to int16, those of alive channels only, one behind the other. */
function quantizeRecordsCall(
  op: LinearOp,
  layout: WasmLayout,
  channelScales: number,
  cap: number,
  recordBytes: number,
) {
  const input = layout.value(op.inputs.input);
  const places = Math.ceil(input.width / 8 + 1) * 8;
  const quantized = layout.scratch(places * 2);
  const offsets = layout.scratch(places * 4);
  const count = layout.scratch(4);
  const scale = layout.scratch(4);
  const call: WasmCall = {
    kernel: 'quantizeRecords',
    args: [
      ...[layout.rows(op.inputs.input), input.pointer, channelScales, layout.value(op.inputs.channels!).pointer],
      ...[quantized, offsets, count, scale, float32Bits(cap), recordBytes],
    ],
  };
  return { call, quantized, offsets, count, scale };
}

/** The input of a linear with float32 activations: itself, or a copy whose dead channels are 0. */
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
