import { create } from '@bufbuild/protobuf';
import { LlmoptError } from '../../errors.ts';
import { checkGraph, opName } from '../../graph/check.ts';
import type { Graph, Param } from '../../graph/graph.ts';
import { type AttentionOp, isCustom, type Op } from '../../ops/op.ts';
import { checkKernels } from '../../plugin/plan.ts';
import { createModelBuilder, type OnnxConstant } from './builder.ts';
import type { OnnxBuilder } from './kernel.ts';
import { coreKernel, type ModelTensors } from './kernels.ts';
import { inputNames, logitsName, pastName, presentName, valueName } from './names.ts';
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  TensorShapeProto_DimensionSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './onnx_pb.js';

/** An ONNX model without its weights. */
export interface OnnxModel {
  readonly nodes: readonly NodeProto[];
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly constants: readonly OnnxConstant[];
  /** Weights by the name of their tensor. */
  readonly params: ReadonlyMap<string, Param>;
}

export interface ModelOptions {
  readonly contextLength: number;
  readonly selectRows: boolean;
  readonly values: readonly string[];
}

export const supportsOnnx = (op: Op): boolean => !isCustom(op) || op.definition.kernels.onnx !== undefined;

/**
 * Writes the graph as ONNX nodes.
 * @throws LLMOPT_PLAN for an op without an ONNX kernel, LLMOPT_GRAPH_INVALID, LLMOPT_OPTION_INVALID for an unknown value
 */
export function buildModel(graph: Graph, options: ModelOptions): OnnxModel {
  const infos = checkGraph(graph);
  checkKernels(graph, { name: 'onnx', supports: supportsOnnx });
  const layers = attentionLayers(graph);
  const { inputs, outputs } = signature(graph, layers, options);
  for (const value of options.values) {
    const info = infos.get(value);
    if (!info) {
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `The graph has no value "${value}".`, {
        hint: 'describeGraph() lists the names.',
      });
    }
    outputs.push(tensorInfo(valueName(value), DataType.FLOAT, ['rows', info.width]));
  }
  const builder = createModelBuilder([inputNames.promptRows, ...[...inputs, ...outputs].map(({ name }) => name)]);
  const used = new Set(graph.ops.flatMap((op) => Object.values<string>(op.params)));
  const paramTensors = new Map([...used].map((name) => [name, builder.unique(name)]));
  const tensors = new Map<string, string>();
  const promptRows = () =>
    options.selectRows
      ? builder.shared('prompt rows', () => {
          inputs.push(tensorInfo(inputNames.promptRows, DataType.FLOAT, ['rows', 1]));
          return inputNames.promptRows;
        })
      : undefined;
  const flat = (input: string) => builder.node('Reshape', [input, builder.ints([-1])]);
  const model: ModelTensors = {
    builder,
    tokens: flat(inputNames.tokens),
    positions: flat(inputNames.positions),
    batchShape: builder.node('Shape', [inputNames.tokens]),
    logitRows: options.selectRows ? inputNames.logitRows : undefined,
    contextLength: options.contextLength,
  };
  for (const op of graph.ops) {
    const roles: Record<string, string> = { ...op.inputs, ...op.outputs };
    const params = op.params as Record<string, string>;
    const build: OnnxBuilder = {
      input: (role) => tensors.get(roles[role]!)!,
      param: (role) => paramTensors.get(params[role]!)!,
      has: (role) => roles[role] !== undefined || params[role] !== undefined,
      width: (role) => infos.get(roles[role]!)!.width,
      promptRows,
      node: builder.node,
      nodes: builder.nodes,
      floats: builder.floats,
      ints: builder.ints,
    };
    builder.prefix = `${Object.values<string>(op.outputs)[0]}/`;
    const made = isCustom(op) ? op.definition.kernels.onnx!(op, build) : coreKernel(op.kind)(op, build, model);
    for (const [role, name] of Object.entries<string>(op.outputs)) {
      const tensor = made[role];
      if (tensor === undefined) {
        throw new LlmoptError('LLMOPT_GRAPH_INVALID', `${opName(op)}: its ONNX kernel does not make "${role}".`);
      }
      tensors.set(name, tensor);
    }
  }
  builder.prefix = '';
  for (const value of options.values) builder.nodeAs(valueName(value), 'Identity', [tensors.get(value)!]);
  const logits = tensors.get(graph.logits)!;
  if (options.selectRows) builder.nodeAs(logitsName, 'Identity', [logits]);
  else {
    const shape = [model.batchShape, builder.ints([graph.config.vocabularySize])];
    builder.nodeAs(logitsName, 'Reshape', [logits, builder.node('Concat', shape, { axis: 0n })]);
  }
  return {
    nodes: builder.made,
    inputs,
    outputs,
    constants: [...builder.constants],
    params: new Map([...paramTensors].map(([name, tensor]) => [tensor, graph.params.get(name)!])),
  };
}

/** The attention ops, each with a layer of its own. @throws LLMOPT_GRAPH_INVALID */
export function attentionLayers(graph: Graph): AttentionOp[] {
  const layers = new Map<number, AttentionOp>();
  for (const op of graph.ops) {
    if (op.kind !== 'attention') continue;
    if (layers.has(op.layer)) {
      throw new LlmoptError('LLMOPT_GRAPH_INVALID', `${opName(op)}: layer ${op.layer} has two attention ops.`, {
        hint: 'Each needs a layer of its own, which its keys and values are named by.',
      });
    }
    layers.set(op.layer, op);
  }
  return [...layers.values()];
}

function signature(graph: Graph, layers: readonly AttentionOp[], { selectRows }: ModelOptions) {
  const past = 'past_sequence_length';
  const total = 'total_sequence_length';
  const rows = ['batch_size', 'sequence_length'];
  const cache = (name: string, { kvHeads, headDim }: AttentionOp, length: string) =>
    tensorInfo(name, DataType.FLOAT, ['batch_size', kvHeads, length, headDim]);
  const roles = ['key', 'value'] as const;
  const { vocabularySize } = graph.config;
  return {
    inputs: [
      tensorInfo(inputNames.tokens, DataType.INT64, rows),
      tensorInfo(inputNames.mask, DataType.INT64, ['batch_size', total]),
      tensorInfo(inputNames.positions, DataType.INT64, rows),
      ...(selectRows ? [tensorInfo(inputNames.logitRows, DataType.INT64, ['logit_rows'])] : []),
      ...layers.flatMap((op) => roles.map((role) => cache(pastName(op.layer, role), op, past))),
    ],
    outputs: [
      tensorInfo(logitsName, DataType.FLOAT, [...(selectRows ? ['logit_rows'] : rows), vocabularySize]),
      ...layers.flatMap((op) => roles.map((role) => cache(presentName(op.layer, role), op, total))),
    ],
  };
}

function tensorInfo(name: string, elemType: DataType, shape: readonly (string | number)[]): ValueInfoProto {
  const dim = shape.map((size) =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof size === 'number' ? { case: 'dimValue', value: BigInt(size) } : { case: 'dimParam', value: size },
    }),
  );
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, shape: { dim } } } },
  });
}
