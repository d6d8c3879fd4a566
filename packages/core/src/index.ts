export { architectures, buildGraph } from './architectures/index.ts';
export type {
  Backend,
  Batch,
  Capability,
  CompileOptions,
  Executable,
  ForwardResult,
  KernelProfile,
  MemoryReport,
  Profile,
} from './backends/backend.ts';
export type { OnnxAttribute, OnnxBuilder, OnnxKernel } from './backends/onnx/kernel.ts';
export type { ReferenceContext } from './backends/reference/context.ts';
export { reference } from './backends/reference/index.ts';
export {
  abiVersion,
  float32Bits,
  type WasmCall,
  type WasmKernel,
  type WasmLayout,
  type WasmModule,
  type WasmValue,
  type WasmWork,
} from './backends/wasm/abi.ts';
export { type WasmOptions, wasm } from './backends/wasm/index.ts';
export { measureReadBandwidth, type ReadBandwidth, type ReadBandwidthOptions } from './backends/wasm/readBandwidth.ts';
export * from './checkpoint/index.ts';
export { type ErrorCode, type ErrorDetails, errorCatalogue, LlmoptError } from './errors.ts';
export { checkGraph } from './graph/check.ts';
export { describeGraph } from './graph/describe.ts';
export { type Graph, type ModelConfig, mapOps, type Param, type ValueInfo, withParams } from './graph/graph.ts';
export { channelLists, type WeightBytesOptions, weightBytesOfRows, weightBytesPerToken } from './graph/weightBytes.ts';
export { bytesPerToken, checkCapacity, contiguousKvCache } from './kv/contiguous.ts';
export type { KvBytes, KvCache, KvCacheProvider, KvContext, KvLayout } from './kv/kvCache.ts';
export type { KvMemory } from './kv/kvMemory.ts';
export { defineOp, type OpDefinition, type ShapeContext } from './ops/define.ts';
export { definitionOf } from './ops/index.ts';
export type { CoreOp, CustomOp, LinearOp, Op } from './ops/op.ts';
export { createPipeline } from './pipeline/createPipeline.ts';
export { seededRandom } from './pipeline/random.ts';
export type * from './pipeline/types.ts';
export { type HookKind, hooks } from './plugin/hooks.ts';
export type { Plan } from './plugin/plan.ts';
export {
  type Claim,
  definePlugin,
  type Fidelity,
  type GenerateRequest,
  type Hooks,
  type Plugin,
  type Sequence,
  type StepEvent,
} from './plugin/plugin.ts';
export * from './tokenizer/index.ts';
