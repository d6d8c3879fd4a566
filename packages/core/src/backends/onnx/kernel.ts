import type { Op } from '../../ops/op.ts';

/** A value of an ONNX attribute: INT is a bigint and FLOAT a number, so that 1n and 1 are not mixed up. */
export type OnnxAttribute = bigint | number | string | readonly bigint[] | readonly number[];

/**
 * What an op's ONNX kernel builds with. Tensors are named by strings. A float value of `width` numbers is a float tensor
 * `[rows, width]`; a channel list is a mask of the same shape, 1 for alive and 0 for skipped.
 */
export interface OnnxBuilder {
  /** The tensor of an input, by role of the op. */
  input(role: string): string;
  /** The tensor of a parameter, by role of the op, in the parameter's own shape. */
  param(role: string): string;
  /** Whether the op has this input or parameter. */
  has(role: string): boolean;
  /** Numbers per row of an input or output. */
  width(role: string): number;
  /**
   * float `[rows, 1]`: 1 for rows that belong to a prompt, 0 for the others. Undefined in a file that cannot be told, as `exportOnnx`
   * writes it without `selectRows`: there, no row does.
   */
  promptRows(): string | undefined;
  /** Adds a node of a standard operator (opset 17) with one output, and returns that. An input that is left out is ''. */
  node(type: string, inputs: readonly string[], attributes?: Readonly<Record<string, OnnxAttribute>>): string;
  /** The same for a node with several outputs. */
  nodes(
    type: string,
    inputs: readonly string[],
    outputs: number,
    attributes?: Readonly<Record<string, OnnxAttribute>>,
  ): string[];
  /** A constant float tensor; without a shape it is a scalar or a vector. */
  floats(values: number | ArrayLike<number>, shape?: readonly number[]): string;
  /** A constant int64 tensor; without a shape it is a scalar or a vector. */
  ints(values: number | readonly number[], shape?: readonly number[]): string;
}

/** Writes an op as ONNX nodes. Returns the tensor of each output, by role. */
export type OnnxKernel<O extends Op> = (op: O, build: OnnxBuilder) => Readonly<Record<string, string>>;
