import type { Graph, Param } from '../../../graph/graph.ts';
import type { LinearGroup } from './groups.ts';
import {
  channelFloat32Layout,
  headInt8Layout,
  headRoom,
  int8Room,
  packChannelFloat32,
  packTilesInt16,
  recordInt8Layout,
  tileInt8Layout,
  tileInt16Layout,
} from './layouts.ts';
import type { Packer } from './packer.ts';

export type Precision = 'int8' | 'float32';

/** How keys and values are kept. */
export type KvPrecision = 'float32' | 'int16';

/** One block of packed weights, and how to fill it. */
export interface Section {
  /** All that its bytes depend on, within the model. */
  readonly key: string;
  readonly byteLength: number;
  /** Weights that are turned into int8, and the room that a packer needs for that. Both 0 without int8. */
  readonly weights: number;
  readonly roomBytes: number;
  /** Fills a zeroed range; reads parameters as it goes. The packer is for sections with int8 weights. */
  fill(target: Uint8Array, packer: Packer | undefined): Promise<void>;
}

// A matrix is read in parts of at most so many bytes of float32, so that little more than its packed form is in memory.
const PART_BYTES = 16 * 2 ** 20;

/** A vector, such as the gain of a norm, as float32. */
export function vectorSection(param: Param): Section {
  const length = param.shape.reduce((product, size) => product * size, 1);
  return {
    key: `vector ${param.key}`,
    byteLength: length * 4,
    weights: 0,
    roomBytes: 0,
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
  const layout = layoutName(group, precision);
  const key = `${layout} ${weights.map((param, i) => `${param.key}${biases[i] ? `+${biases[i].key}` : ''}`).join('|')}`;

  /** Calls for parts of the rows of all linears, and puts their biases one behind the other. */
  async function read(onRows: (rows: Float32Array, first: number) => void): Promise<Float32Array> {
    const bias = new Float32Array(outputs);
    let row = 0;
    for (const [i, param] of weights.entries()) {
      for await (const { rows, first } of partsOf(param)) onRows(rows, row + first);
      if (biases[i]) bias.set(await biases[i].read(), row);
      row += param.shape[0]!;
    }
    return bias;
  }

  if (layout === 'float32' || layout === 'int16') {
    const plain = layout === 'int16' ? tileInt16Layout : channelFloat32Layout;
    const pack = layout === 'int16' ? packTilesInt16 : packChannelFloat32;
    const { byteLength, bias: biasAt } = plain(outputs, inputs);
    return {
      ...{ key, byteLength, weights: 0, roomBytes: 0 },
      async fill(target) {
        const bias = await read((rows, first) => pack(rows, first, outputs, inputs, target));
        new Float32Array(target.buffer, target.byteOffset + biasAt, outputs).set(bias);
      },
    };
  }
  const { byteLength, rowScales } = (records ? recordInt8Layout : tileInt8Layout)(outputs, inputs);
  return {
    ...{ key, byteLength, weights: outputs * inputs, roomBytes: int8Room(outputs, inputs, rowScales).end },
    async fill(target, packer) {
      const weight = packer!.weights(outputs, inputs);
      const bias = await read((rows, first) => weight.set(rows, first * inputs));
      await packer!.packInt8(outputs, inputs, records, bias, target);
    },
  };
}

function layoutName({ precise, int8 }: LinearGroup, precision: Precision) {
  if (precision === 'float32') return 'float32';
  return precise ? 'int16' : int8;
}

/** A matrix whose rows are looked up or are too many for records: the embedding and the head. */
export function rowsSection(param: Param, precision: Precision): Section {
  const [outputs, inputs] = param.shape as [number, number];
  const key = `rows ${param.key}`;
  if (precision === 'float32') {
    return {
      ...{ key, byteLength: outputs * inputs * 4, weights: 0, roomBytes: 0 },
      async fill(target) {
        const whole = new Float32Array(target.buffer, target.byteOffset, outputs * inputs);
        for await (const { rows, first } of partsOf(param)) whole.set(rows, first * inputs);
      },
    };
  }
  return {
    key,
    byteLength: headInt8Layout(outputs, inputs).byteLength,
    weights: outputs * inputs,
    roomBytes: headRoom(Math.min(outputs, rowsAtOnce(inputs)), inputs).end,
    async fill(target, packer) {
      for await (const { rows, first } of partsOf(param)) {
        packer!.weights(rows.length / inputs, inputs).set(rows);
        await packer!.packHead(rows.length / inputs, first, outputs, inputs, target);
      }
    },
  };
}

/** A multiple of 16. */
const rowsAtOnce = (inputs: number) => Math.max(16, Math.floor(PART_BYTES / (inputs * 4) / 16) * 16);

async function* partsOf(param: Param) {
  const [outputs, inputs] = param.shape as [number, number];
  for (let first = 0; first < outputs; first += rowsAtOnce(inputs)) {
    yield { first, rows: await param.read([first, Math.min(first + rowsAtOnce(inputs), outputs)]) };
  }
}
