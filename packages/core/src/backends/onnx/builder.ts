import { create } from '@bufbuild/protobuf';
import type { OnnxAttribute, OnnxBuilder } from './kernel.ts';
import {
  type AttributeProto,
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  TensorProto_DataType as DataType,
  type NodeProto,
  NodeProtoSchema,
} from './onnx_pb.js';

/** Numbers that are part of the model itself, such as shapes and tables. */
export interface OnnxConstant {
  readonly name: string;
  readonly type: DataType.FLOAT | DataType.INT64;
  readonly shape: readonly number[];
  readonly data: Float32Array | BigInt64Array;
}

/** The part of a builder that knows no op, and what has been built. */
export interface ModelBuilder extends Pick<OnnxBuilder, 'node' | 'nodes' | 'floats' | 'ints'> {
  /** Nodes made from now on get names that begin with this. */
  prefix: string;
  /** The name that is wanted, or one like it where that is taken. */
  unique(wanted: string): string;
  /** Adds a node whose output has this very name. */
  nodeAs(
    name: string,
    type: string,
    inputs: readonly string[],
    attributes?: Readonly<Record<string, OnnxAttribute>>,
  ): string;
  /** What `make` built for this key before, or builds now. */
  shared(key: string, make: () => string): string;
  readonly made: readonly NodeProto[];
  readonly constants: Iterable<OnnxConstant>;
}

/** `reserved`: names that no tensor gets by itself, since inputs and outputs of the model have them. */
export function createModelBuilder(reserved: Iterable<string>): ModelBuilder {
  const names = new Set(reserved);
  const made: NodeProto[] = [];
  const constants = new Map<string, OnnxConstant>();
  const shared = new Map<string, string>();

  const unique = (wanted: string): string => {
    let name = wanted;
    for (let n = 1; names.has(name); n++) name = `${wanted}_${n}`;
    names.add(name);
    return name;
  };
  const constant = (
    type: OnnxConstant['type'],
    data: OnnxConstant['data'],
    shape: readonly number[],
    title: string,
  ): string => {
    const key = `${type} [${shape}] ${data.length > 64 ? unique('large') : data}`;
    const known = constants.get(key);
    if (known) return known.name;
    const name = unique(title);
    constants.set(key, { name, type, shape, data });
    return name;
  };

  const builder: ModelBuilder = {
    prefix: '',
    unique,
    made,
    get constants() {
      return constants.values();
    },
    nodeAs(name, type, inputs, attributes = {}) {
      add(type, inputs, [name], attributes);
      return name;
    },
    node: (type, inputs, attributes) => builder.nodes(type, inputs, 1, attributes)[0]!,
    nodes(type, inputs, outputs, attributes = {}) {
      const title = `${builder.prefix}${type}`;
      const outputNames = Array.from({ length: outputs }, (_, i) => unique(i === 0 ? title : `${title}.${i}`));
      add(type, inputs, outputNames, attributes);
      return outputNames;
    },
    floats(values, shape) {
      const data = typeof values === 'number' ? Float32Array.of(values) : Float32Array.from(values);
      return constant(DataType.FLOAT, data, shape ?? shapeOf(values), 'constant');
    },
    ints(values, shape) {
      const data = BigInt64Array.from([values].flat(), BigInt);
      return constant(DataType.INT64, data, shape ?? shapeOf(values), 'constant');
    },
    shared(key, make) {
      const known = shared.get(key);
      if (known !== undefined) return known;
      const { prefix } = builder;
      builder.prefix = '';
      const tensor = make();
      builder.prefix = prefix;
      shared.set(key, tensor);
      return tensor;
    },
  };

  function add(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>>,
  ): void {
    made.push(
      create(NodeProtoSchema, {
        name: outputs[0],
        opType: type,
        input: [...inputs],
        output: [...outputs],
        attribute: Object.entries(attributes).map(([name, value]) => attributeOf(name, value)),
      }),
    );
  }

  return builder;
}

const shapeOf = (values: number | ArrayLike<number>) => (typeof values === 'number' ? [] : [values.length]);

function attributeOf(name: string, value: OnnxAttribute): AttributeProto {
  if (typeof value === 'bigint') return create(AttributeProtoSchema, { name, type: AttributeType.INT, i: value });
  if (typeof value === 'number') return create(AttributeProtoSchema, { name, type: AttributeType.FLOAT, f: value });
  if (typeof value === 'string') {
    return create(AttributeProtoSchema, { name, type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  }
  return isInts(value)
    ? create(AttributeProtoSchema, { name, type: AttributeType.INTS, ints: [...value] })
    : create(AttributeProtoSchema, { name, type: AttributeType.FLOATS, floats: [...value] });
}

const isInts = (values: readonly bigint[] | readonly number[]): values is readonly bigint[] =>
  typeof values[0] === 'bigint';
