import { LlmoptError } from '../../errors.ts';
import { isCustom } from '../../ops/op.ts';
import type { Backend } from '../backend.ts';
import type { VectorBits } from './kernelModules.ts';
import type { KvPrecision, Precision } from './packing/sections.ts';
import { compileRecyclable } from './recyclable.ts';
import { resolveThreads, resolveVectorBits } from './settings.ts';

export interface WasmOptions {
  /** Worker threads. Default: one per core. */
  threads?: number;
  /** `int8` (default): weights of 8 bits, activations of 16. `float32`: precise, four times the memory, slower. */
  precision?: Precision;
  /** How keys and values are kept. `float32` (default), or `int16` with a scale per token and head: half the memory. */
  kv?: KvPrecision;
  /** Keep times per op and layer. Default false. */
  profile?: boolean;
  /**
   * Bits of the vector instructions. Default: 256 on x64, which has V8 join pairs of WebAssembly's 128-bit ones; else 128. The results
   * have the same bits. V8 calls the joining experimental: 128 does without it.
   */
  vectorBits?: VectorBits;
}

/**
 * The CPU backend: WebAssembly SIMD kernels on worker threads over one shared memory. The event loop stays free while it computes.
 * @throws LLMOPT_OPTION_INVALID
 */
export function wasm(options: WasmOptions = {}): Backend {
  const threads = resolveThreads(options.threads);
  const vectorBits = resolveVectorBits(options.vectorBits);
  const precision = options.precision ?? 'int8';
  if (precision !== 'int8' && precision !== 'float32') {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `precision is "${precision}"; "int8" and "float32" are allowed.`);
  }
  const kv = options.kv ?? 'float32';
  if (kv !== 'float32' && kv !== 'int16') {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `kv is "${kv}"; "float32" and "int16" are allowed.`);
  }
  const settings = { threads, precision, kv, profile: options.profile ?? false, vectorBits };
  return {
    name: 'wasm',
    settings,
    capabilities: new Set(['channels', 'values', 'slots', 'kvCache', 'logits', 'invariance'] as const),
    supports: (op) => {
      if (isCustom(op)) return op.definition.kernels.wasm !== undefined;
      // The attention kernel works on whole vectors of four.
      return op.kind !== 'attention' || op.headDim % 4 === 0;
    },
    compile: (graph, compileOptions) => compileRecyclable(graph, settings, compileOptions),
  };
}
