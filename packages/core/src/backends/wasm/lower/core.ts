import type {
  ActOp,
  AddOp,
  AttentionOp,
  EmbedOp,
  GatedActOp,
  LayerNormOp,
  RmsNormOp,
  RopeOp,
  SelectRowsOp,
} from '../../../ops/op.ts';
import { float32Bits, type WasmCall, type WasmLayout } from '../abi.ts';
import { headInt8Layout } from '../packing/layouts.ts';
import type { KvPrecision, Precision } from '../packing/sections.ts';

// One function per op of core: the kernel calls it becomes. The words are documented beside each kernel in assembly/.

/** `weight` is the address of the packed embedding `[vocabulary, width]`. */
export function lowerEmbed(
  op: EmbedOp,
  layout: WasmLayout,
  precision: Precision,
  weight: number,
  vocabulary: number,
): WasmCall[] {
  const output = layout.value(op.outputs.output);
  const rows = layout.rows(op.outputs.output);
  if (precision === 'float32') {
    return [
      {
        kernel: 'embedFloat32',
        args: [rows, layout.batch.tokens, weight, output.width, output.pointer, output.stride],
      },
    ];
  }
  const { groups, scales } = headInt8Layout(vocabulary, output.width);
  return [
    {
      kernel: 'embedInt8',
      args: [rows, layout.batch.tokens, weight, weight + scales, groups, output.width, output.pointer, output.stride],
    },
  ];
}

export function lowerRmsNorm(op: RmsNormOp, layout: WasmLayout): WasmCall[] {
  const input = layout.value(op.inputs.input);
  const output = layout.value(op.outputs.output);
  const gain = layout.param(op.params.gain);
  return [
    {
      kernel: 'rmsNorm',
      args: [
        layout.rows(op.inputs.input),
        ...[input.pointer, input.stride, gain, output.pointer, output.stride, input.width],
        float32Bits(op.epsilon),
      ],
    },
  ];
}

export function lowerLayerNorm(op: LayerNormOp, layout: WasmLayout): WasmCall[] {
  const input = layout.value(op.inputs.input);
  const output = layout.value(op.outputs.output);
  return [
    {
      kernel: 'layerNorm',
      args: [
        ...[layout.rows(op.inputs.input), input.pointer, input.stride],
        ...[layout.param(op.params.gain), layout.param(op.params.bias)],
        ...[output.pointer, output.stride, input.width, float32Bits(op.epsilon)],
      ],
    },
  ];
}

/** `table` is the address of float32 [context, pairs, 2]: cos and sin. */
export function lowerRope(op: RopeOp, layout: WasmLayout, table: number): WasmCall[] {
  const input = layout.value(op.inputs.input);
  const output = layout.value(op.outputs.output);
  const pairs = op.rotaryDim / 2;
  const [reach, step] = op.pairing === 'neighbours' ? [1, 2] : [pairs, 1];
  return [
    {
      kernel: 'rope',
      args: [
        ...[layout.rows(op.inputs.input), layout.batch.positions, table, pairs, reach, step],
        ...[op.headDim, input.width, input.pointer, input.stride, output.pointer, output.stride],
      ],
    },
  ];
}

export function lowerAttention(op: AttentionOp, layout: WasmLayout, kv: KvPrecision): WasmCall[] {
  const query = layout.value(op.inputs.query);
  const key = layout.value(op.inputs.key);
  const value = layout.value(op.inputs.value);
  const output = layout.value(op.outputs.output);
  const { slots, positions, slotBases } = layout.batch;
  const rows = layout.rows(op.inputs.query);
  const valuesOffset = kvRangeBytes(layout.contextLength, op.kvHeads, op.headDim, kv);
  const layerOffset = op.layer * 2 * valuesOffset;
  const place = [rows, slots, positions, slotBases, layerOffset, valuesOffset, op.kvHeads, op.headDim];
  const { scoresStride, partBytes, scratchStride, partsStride, rowsOfParts } = attentionScratch(op, layout);
  const words = [
    ...[...place, query.pointer, query.stride, output.pointer, output.stride, op.heads, float32Bits(op.scale)],
    ...[layout.scratch(scratchStride * layout.threads), scratchStride, scoresStride, partBytes],
    ...[layout.commonScratch('attention', partsStride * rowsOfParts), partsStride, ...layout.counters()],
    ...(layout.oneRow ? [key.pointer, value.pointer] : [0, 0]),
  ];
  const suffix = kv === 'int16' ? 'Int16' : '';
  const write: WasmCall = {
    kernel: `kvWrite${suffix}`,
    args: [...place, key.pointer, key.stride, value.pointer, value.stride],
  };
  return [
    // A single row is written by the threads that read it.
    ...(layout.oneRow ? [] : [write]),
    { kernel: `attention${suffix}`, split: true, args: words },
    { kernel: 'attentionMerge', args: words },
  ];
}

// The numbers of assembly/attention.ts and args.ts.
const SHORTEST_CHUNK = 32;
const MOST_CHUNKS = 8;
const LANES = 8;
const PARTIAL_BYTES = 256;
const DEALT_ROWS = 16;

/** Sizes in bytes of what attention needs besides its inputs. */
function attentionScratch({ headDim, heads }: AttentionOp, { contextLength, maxRows }: WasmLayout) {
  let chunk = SHORTEST_CHUNK;
  while (chunk * MOST_CHUNKS < contextLength) chunk *= 2;
  const scoresStride = Math.ceil((chunk + 8) / 16) * 64;
  const partBytes = Math.ceil((headDim + 2) / 16) * 64;
  return {
    scoresStride,
    partBytes,
    scratchStride: scoresStride * LANES + PARTIAL_BYTES + partBytes * LANES * 2,
    partsStride: partBytes * heads * Math.min(MOST_CHUNKS, Math.ceil(contextLength / SHORTEST_CHUNK)),
    rowsOfParts: Math.min(DEALT_ROWS - 1, maxRows),
  };
}

/** Bytes that the keys, or the values, of so many positions of a layer take: runs of 16, in int16 with a scale per position and head. */
export function kvBytes(positions: number, kvHeads: number, headDim: number, kv: KvPrecision): number {
  return Math.ceil(positions / 16) * 16 * kvHeads * (kv === 'int16' ? headDim * 2 + 4 : headDim * 4);
}

/** Ranges begin at such addresses, so that the memory behind each can be given back by itself. */
export const KV_PAGE = 4096;

/** Bytes of the range for the keys, or for the values, of a layer and slot: whole pages. */
export function kvRangeBytes(contextLength: number, kvHeads: number, headDim: number, kv: KvPrecision): number {
  return Math.ceil(kvBytes(contextLength, kvHeads, headDim, kv) / KV_PAGE) * KV_PAGE;
}

export function lowerGatedAct(op: GatedActOp, layout: WasmLayout): WasmCall[] {
  return [{ kernel: 'gatedSilu', args: elementwise(op.inputs.gate, op.inputs.up, op.outputs.output, layout) }];
}

export function lowerAct(op: ActOp, layout: WasmLayout): WasmCall[] {
  const input = layout.value(op.inputs.input);
  const output = layout.value(op.outputs.output);
  return [
    {
      kernel: op.activation,
      args: [
        ...[layout.rows(op.inputs.input), input.pointer, input.stride, output.pointer, output.stride, output.width],
      ],
    },
  ];
}

export function lowerAdd(op: AddOp, layout: WasmLayout): WasmCall[] {
  return [{ kernel: 'add', args: elementwise(op.inputs.left, op.inputs.right, op.outputs.output, layout) }];
}

function elementwise(leftName: string, rightName: string, outputName: string, layout: WasmLayout): number[] {
  const left = layout.value(leftName);
  const right = layout.value(rightName);
  const output = layout.value(outputName);
  return [
    layout.rows(outputName),
    ...[left.pointer, left.stride, right.pointer, right.stride, output.pointer, output.stride, output.width],
  ];
}

export function lowerSelectRows(op: SelectRowsOp, layout: WasmLayout): WasmCall[] {
  const input = layout.value(op.inputs.input);
  const output = layout.value(op.outputs.output);
  const { logitCount, logitRows } = layout.batch;
  return [
    {
      kernel: 'copyRows',
      args: [logitCount, logitRows, input.pointer, input.stride, output.pointer, output.stride, input.width * 4],
    },
  ];
}
