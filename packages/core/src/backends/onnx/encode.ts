import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Param } from '../../graph/graph.ts';
import type { OnnxModel } from './model.ts';
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProtoSchema,
} from './onnx_pb.js';

/** The operators are those of this version of the standard. */
export const opset = 17;
// What ONNX 1.12 wrote, the first release with this opset.
const irVersion = 8n;

/** A weight whose bytes lie in another file. */
export interface Placement {
  /** Name of that file, in the same folder. */
  readonly location: string;
  readonly offset: number;
}

/** Bytes of a file, or a weight that stands for its bytes: float32, little-endian. */
export type ModelPart = Uint8Array | Param;

export const paramBytes = ({ shape }: Param): number => shape.reduce((product, size) => product * size, 4);

export const isBytes = (part: ModelPart): part is Uint8Array => part instanceof Uint8Array;

/**
 * The model as the parts of its file, in order. A weight is a part of its own, so that it can be read when its turn comes; with a
 * placement it is only referred to.
 */
export function encodeModel(model: OnnxModel, placeOf: (tensor: string) => Placement | undefined): ModelPart[] {
  const { nodes, inputs, outputs } = model;
  const tensors: ModelPart[][] = [];
  for (const [name, param] of model.params) {
    const dims = param.shape.map(BigInt);
    const place = placeOf(name);
    if (place) {
      const externalData = Object.entries({ ...place, length: paramBytes(param) }).map(([key, value]) => ({
        key,
        value: String(value),
      }));
      const fields = { name, dims, dataType: DataType.FLOAT, dataLocation: DataLocation.EXTERNAL, externalData };
      tensors.push([toBinary(TensorProtoSchema, create(TensorProtoSchema, fields))]);
    } else {
      const head = toBinary(TensorProtoSchema, create(TensorProtoSchema, { name, dims, dataType: DataType.FLOAT }));
      tensors.push([head, ...field(TensorProtoSchema.field.rawData.number, [param])]);
    }
  }
  for (const { name, type, shape, data } of model.constants) {
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const fields = { name, dims: shape.map(BigInt), dataType: type, rawData };
    tensors.push([toBinary(TensorProtoSchema, create(TensorProtoSchema, fields))]);
  }
  const graph = create(GraphProtoSchema, {
    name: 'llmopt',
    node: [...nodes],
    input: [...inputs],
    output: [...outputs],
  });
  const head = create(ModelProtoSchema, {
    irVersion,
    producerName: 'llmopt',
    opsetImport: [{ domain: '', version: BigInt(opset) }],
  });
  return [
    toBinary(ModelProtoSchema, head),
    ...field(ModelProtoSchema.field.graph.number, [
      toBinary(GraphProtoSchema, graph),
      ...tensors.flatMap((parts) => field(GraphProtoSchema.field.initializer.number, parts)),
    ]),
  ];
}

export const byteLengthOf = (parts: readonly ModelPart[]): number =>
  parts.reduce((sum, part) => sum + (isBytes(part) ? part.byteLength : paramBytes(part)), 0);

/** A field that holds bytes or a message, in front of its parts. */
function field(number: number, parts: readonly ModelPart[]): ModelPart[] {
  const head = new BinaryWriter().tag(number, WireType.LengthDelimited).uint32(byteLengthOf(parts)).finish();
  return [head, ...parts];
}
