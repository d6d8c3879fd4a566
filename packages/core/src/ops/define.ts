import type { GpuKernel } from '../backends/gpu/abi.ts';
import type { OnnxKernel } from '../backends/onnx/kernel.ts';
import type { ReferenceContext } from '../backends/reference/context.ts';
import type { WasmKernel } from '../backends/wasm/abi.ts';
import { LlmoptError } from '../errors.ts';
import type { Param, ValueInfo } from '../graph/graph.ts';
import type { CustomOp, Op } from './op.ts';

/** What an op's `shape` sees: its inputs and parameters, already known to exist. */
export interface ShapeContext {
  /** @throws LLMOPT_GRAPH_INVALID when the value does not exist or is of another kind. */
  value(role: string, kind: ValueInfo['kind']): ValueInfo;
  has(role: string): boolean;
  param(role: string): Param;
  /** @throws LLMOPT_GRAPH_INVALID naming the op. */
  require(condition: boolean, message: string): void;
}

/**
 * An op: what comes out of what goes in, and how each backend computes it. The reference kernel is required
 * and is what every other kernel is tested against.
 */
export interface OpDefinition<O extends Op> {
  readonly kind: O['kind'];
  /** The outputs by role. @throws LLMOPT_GRAPH_INVALID when inputs or parameters do not fit. */
  shape(op: O, context: ShapeContext): Readonly<Record<string, ValueInfo>>;
  /** Whether rows of a prompt are computed in another way than others. Default: they are not. */
  readonly promptsDiffer?: (op: O) => boolean;
  readonly kernels: {
    /** Plain TypeScript in float32. */
    readonly reference: (op: O, context: ReferenceContext) => void;
    readonly wasm?: WasmKernel<O>;
    /** Nodes of standard ONNX operators. */
    readonly onnx?: OnnxKernel<O>;
    readonly gpu?: GpuKernel<O>;
  };
}

/** An op of core, whose kernels for other backends live in those backends. */
export type CoreOpDefinition<O extends Op> = OpDefinition<O>;

/**
 * Define an op for a plugin.
 * @throws LLMOPT_OPTION_INVALID when the kind has no dot (kinds without one are core's own).
 */
export function defineOp(definition: OpDefinition<CustomOp>): OpDefinition<CustomOp> {
  if (!/^[a-z][\w-]*\.[a-z][\w-]*$/i.test(definition.kind)) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `"${definition.kind}" is not a kind for a plugin's op.`, {
      hint: 'Write it as plugin.op, for example larosa.sparsify.',
    });
  }
  return Object.freeze(definition);
}
