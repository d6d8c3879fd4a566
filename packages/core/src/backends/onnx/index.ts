import { LlmoptError } from '../../errors.ts';
import type { Backend } from '../backend.ts';
import { resolveThreads } from '../wasm/settings.ts';
import { compileOnnx } from './executable.ts';
import { supportsOnnx } from './model.ts';

export { type ExportOnnxOptions, exportOnnx, type OnnxFiles } from './files.ts';
export { exportOnnxFolder } from './modelFolder.ts';

export interface OnnxOptions {
  /**
   * What computes, in the order of preference, by onnxruntime's names: `cpu`, `webgpu`, `cuda`, ... Operators that one lacks run on
   * the next, and on the CPU in the end. Default: `['cpu']`.
   */
  executionProviders?: readonly string[];
  /** Threads of the CPU. Default: one per core. */
  threads?: number;
  /** Make every value of the graph an output, so that `forward` can be asked for it. Slower. Default false. */
  values?: boolean;
}

/**
 * Runs the graph as an ONNX model in onnxruntime-node, in float32. Sequences of a batch run one after the other, on the main thread: the
 * event loop waits. Channels are a mask and save nothing.
 * @throws LLMOPT_OPTION_INVALID; `compile` throws LLMOPT_PACKAGE_MISSING, LLMOPT_PROVIDER_MISSING and LLMOPT_ENGINE_FAILED
 */
export function onnx(options: OnnxOptions = {}): Backend {
  const { executionProviders = ['cpu'], values = false } = options;
  const threads = resolveThreads(options.threads);
  if (executionProviders.length === 0 || executionProviders.some((name) => typeof name !== 'string' || name === '')) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', 'executionProviders must be a list of names.', {
      hint: "For example ['cpu'].",
    });
  }
  return {
    name: 'onnx',
    settings: { executionProviders: executionProviders.join(', '), threads, precision: 'float32', values },
    capabilities: new Set(['channels', 'slots', 'logits', ...(values ? (['values'] as const) : [])] as const),
    supports: supportsOnnx,
    compile: (graph, compileOptions) => compileOnnx(graph, { executionProviders, threads, values }, compileOptions),
  };
}
