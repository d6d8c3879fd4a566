import type { Graph, Param } from '../../../graph/graph.ts';
import type { LinearGroup } from './groups.ts';
import type { Int8Packer } from './int8.ts';
import {
  channelFloat32Layout,
  headInt8Layout,
  packChannelFloat32,
  packHeadInt8,
  recordInt8Layout,
  tileInt8Layout,
} from './layouts.ts';

export type Precision = 'int8' | 'float32';

/** How keys and values are kept. */
export type KvPrecision = 'float32' | 'int16';

/** One block of packed weights, and how to fill it. */
export interface Section {
  /** All that its bytes depend on, within the model. */
  readonly key: string;
  readonly byteLength: number;
  /** Fills a zeroed range; reads parameters as it goes. */
  fill(target: Uint8Array, packer: Int8Packer): Promise<void>;
}

const ROWS_AT_ONCE = 4096;

/** A vector, such as the gain of a norm, as float32. */
export function vectorSection(param: Param): Section {
  const length = param.shape.reduce((product, size) => product * size, 1);
  return {
    key: `vector ${param.key}`,
    byteLength: length * 4,
    async fill(target) {
      new Float32Array(target.buffer, target.byteOffset, length).set(await param.read());
    },
  };
}

/** Linears that share their input, side by side. */
export function groupSection(group: LinearGroup, graph: Graph, precision: Precision): Section {
  const weights = group.ops.map((op) => graph.params.get(op.params.weight)!);
  const biases = group.ops.map((op) => (op.params.bias ? graph.params.get(op.params.bias)! : undefined));
  const { inputs, outputs } = group;
  const records = group.int8 === 'records';
  const int8Layout = records ? recordInt8Layout : tileInt8Layout;
  const { byteLength } = precision === 'int8' ? int8Layout(outputs, inputs) : channelFloat32Layout(outputs, inputs);
  return {
    key: `${records ? 'records' : 'tiles'} ${weights.map((param, i) => `${param.key}${biases[i] ? `+${biases[i].key}` : ''}`).join('|')}`,
    byteLength,
    async fill(target, packer) {
      const read = async (put: (row: number, matrix: Float32Array) => void, bias: Float32Array) => {
        let row = 0;
        for (const [i, param] of weights.entries()) {
          put(row, await param.read());
          if (biases[i]) bias.set(await biases[i].read(), row);
          row += param.shape[0]!;
        }
      };
      if (precision === 'int8') return packer.pack({ outputs, inputs, records }, read, target);
      const weight = new Float32Array(outputs * inputs);
      const bias = new Float32Array(outputs);
      await read((row, matrix) => weight.set(matrix, row * inputs), bias);
      packChannelFloat32(weight, bias, outputs, inputs, target);
    },
  };
}

/** A matrix whose rows are looked up or are too many for records: the embedding and the head. */
export function rowsSection(param: Param, precision: Precision): Section {
  const [outputs, inputs] = param.shape as [number, number];
  return {
    key: `rows ${param.key}`,
    byteLength: precision === 'int8' ? headInt8Layout(outputs, inputs).byteLength : outputs * inputs * 4,
    async fill(target) {
      for (let first = 0; first < outputs; first += ROWS_AT_ONCE) {
        const rows = await param.read([first, Math.min(first + ROWS_AT_ONCE, outputs)]);
        if (precision === 'int8') packHeadInt8(rows, first, outputs, inputs, target);
        else new Float32Array(target.buffer, target.byteOffset + first * inputs * 4, rows.length).set(rows);
      }
    },
  };
}
