import { LlmoptError } from '../../errors.ts';

/** What this backend uses of gpu.js. Its own types lack the WebGPU part. */
export interface GpuJs {
  GPU: {
    new (settings: {
      mode: string;
    }): { createKernel(source: string, settings: object): RunKernel; destroy(): Promise<void> };
    readonly isWebAssemblySupported: boolean;
  };
  Input: new (value: Float32Array, size: number[]) => HostInput;
  WebGPUContext: { acquire(): Promise<WebGpuContext>; destroy(): Promise<void> };
  WebGPUBufferResult: new (settings: {
    buffer: GPUBuffer;
    output: readonly number[];
    componentCount: number;
    context: WebGpuContext;
    kernel: undefined;
  }) => BufferResult;
}

/** A compiled kernel: call it with its arguments. */
export interface RunKernel {
  (...operands: unknown[]): unknown;
  setOutput(size: readonly number[]): unknown;
  destroy(): void;
}

export interface HostInput {
  readonly value: Float32Array;
}

export interface WebGpuContext {
  readonly adapter: GPUAdapter;
  readonly device: GPUDevice;
  readonly isLost: boolean;
}

export interface BufferResult {
  readonly buffer: GPUBuffer;
  /** Sizes by which kernels index it. */
  output: readonly number[];
  delete(): void;
}

/** @throws LLMOPT_PACKAGE_MISSING */
export async function loadGpuJs(): Promise<GpuJs> {
  try {
    const { default: library } = (await import('gpu.js')) as unknown as { default: GpuJs };
    return library;
  } catch (cause) {
    throw new LlmoptError(
      'LLMOPT_PACKAGE_MISSING',
      `The gpu backend needs gpu.js, which cannot be loaded: ${firstLine(cause)}.`,
      {
        hint: 'Run "npm install gpu.js webgpu"; the README of @llmopt/core says how to leave out what they install besides.',
        cause,
      },
    );
  }
}

/** Whether `navigator.gpu` is this backend's doing: then nobody else in the process has a GPU device. */
let provided = false;

export const providesNavigatorGpu = () => provided;

/**
 * Makes sure that `navigator.gpu` is there, where gpu.js looks for it; in Node it comes from the package `webgpu`.
 * @returns why there is no adapter; undefined when one answers
 */
export async function whyNoAdapter(): Promise<string | undefined> {
  try {
    if (!('gpu' in navigator)) {
      const { create } = await import('webgpu');
      Object.defineProperty(navigator, 'gpu', { value: create([]), configurable: true });
      provided = true;
    }
  } catch (error) {
    return `the package "webgpu" cannot be loaded: ${firstLine(error)}`;
  }
  try {
    return (await navigator.gpu.requestAdapter()) ? undefined : 'no WebGPU adapter answers';
  } catch (error) {
    return `asking for a WebGPU adapter failed: ${firstLine(error)}`;
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
}
