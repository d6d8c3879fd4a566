import { groupLinears } from '../src/backends/wasm/packing/groups.ts';
import { headInt8Layout, tileInt8Layout } from '../src/backends/wasm/packing/layouts.ts';
import { checkGraph } from '../src/graph/check.ts';
import { type Graph, type Param, withParams } from '../src/graph/graph.ts';
import { packHeadInt8, packInt8, tilePlace } from './plainPacking.ts';

/** The graph with the weights that the int8 mode really uses: quantised, and turned back into float32 by plain loops. */
export async function quantizedGraph(graph: Graph): Promise<Graph> {
  const params = new Map<string, Param>();
  const replace = (name: string, shape: readonly number[], data: Float32Array) => {
    const width = shape[1]!;
    params.set(name, {
      shape,
      key: name,
      read: async (rows) => (rows ? data.slice(rows[0] * width, rows[1] * width) : data),
    });
  };
  const groups = groupLinears(graph, checkGraph(graph));
  for (const op of graph.ops) {
    if (op.kind !== 'embed' && !(op.kind === 'linear' && !groups.has(op))) continue;
    const param = graph.params.get(op.params.weight)!;
    replace(op.params.weight, param.shape, throughHead(await param.read(), param.shape as [number, number]));
  }
  for (const group of new Set(groups.values())) {
    const weights = await Promise.all(group.ops.map((op) => graph.params.get(op.params.weight)!.read()));
    const all = new Float32Array(group.outputs * group.inputs);
    let at = 0;
    for (const weight of weights) {
      all.set(weight, at);
      at += weight.length;
    }
    const back = throughTiles(all, group.outputs, group.inputs);
    at = 0;
    for (const op of group.ops) {
      const { shape } = graph.params.get(op.params.weight)!;
      replace(op.params.weight, shape, back.slice(at, at + shape[0]! * shape[1]!));
      at += shape[0]! * shape[1]!;
    }
  }
  return withParams(graph, params);
}

function throughTiles(weight: Float32Array, outputs: number, inputs: number): Float32Array {
  const layout = tileInt8Layout(outputs, inputs);
  const packed = new Uint8Array(layout.byteLength);
  packInt8(weight, new Float32Array(outputs), outputs, inputs, false, packed);
  const bytes = new Int8Array(packed.buffer);
  const rowScales = new Float32Array(packed.buffer, layout.rowScales);
  const channelScales = new Float32Array(packed.buffer, layout.channelScales);
  const place = tilePlace(outputs, inputs);
  return weight.map((_, at) => {
    const out = Math.floor(at / inputs);
    const channel = at % inputs;
    return bytes[place(out, channel)]! * rowScales[out]! * channelScales[channel]!;
  });
}

function throughHead(weight: Float32Array, [outputs, inputs]: readonly [number, number]): Float32Array {
  const { groups, scales, byteLength } = headInt8Layout(outputs, inputs);
  const packed = new Uint8Array(byteLength);
  packHeadInt8(weight, 0, outputs, inputs, packed);
  const bytes = new Int8Array(packed.buffer);
  const scale = new Float32Array(packed.buffer, scales);
  return weight.map((_, at) => {
    const out = Math.floor(at / inputs);
    const channel = at % inputs;
    const group = (out >> 4) * groups + (channel >> 5);
    const byte = group * 512 + ((channel & 31) >> 1) * 32 + (out & 15) * 2 + (channel & 1);
    return bytes[byte]! * scale[group * 16 + (out & 15)]!;
  });
}
