import type { LinearOp, Op } from '../../ops/op.ts';

/** A size that is known at compile time, or one that a batch has: its rows, those that want logits, the longest sequence's positions. */
export type GpuExtent = number | 'batch' | 'logits' | 'positions';

/**
 * float32 numbers on the device, as a kernel's argument. Sizes are innermost first: of a tensor of size `[columns, rows]` a kernel
 * reads `tensor[row][column]`.
 */
export interface GpuTensor {
  readonly size: readonly GpuExtent[];
}

/** `this` of a kernel: which number of the output it computes, and the constants of the call. */
export interface GpuThread<Constant extends string = never> {
  readonly thread: { readonly x: number; readonly y: number; readonly z: number };
  readonly constants: Readonly<Record<Constant, number>>;
}

export type GpuVector = readonly number[];
export type GpuMatrix = readonly GpuVector[];
export type GpuCube = readonly GpuMatrix[];

/**
 * A gpu.js kernel: a plain `function` that computes one number of the output. gpu.js translates its source, so it may use nothing from
 * outside but `Math`, and what gpu.js cannot translate it must not use: closures, `continue`, two loop variables of one name,
 * divisions that have to come out whole (add a half before `Math.floor`).
 */
export type GpuFunction = (this: never, ...tensors: never[]) => number;

/** One kernel call: fills `output`, one thread per number. */
export interface GpuCall {
  readonly kernel: GpuFunction;
  /** Whole numbers are integers in the kernel, others floats. Kernels with other constants are compiled separately. */
  readonly constants?: Readonly<Record<string, number>>;
  readonly tensors: readonly GpuTensor[];
  readonly output: GpuTensor;
  /** Sizes of the grid of threads, `[x, y, z]`, where they are cut in another way than the output. */
  readonly threads?: readonly GpuExtent[];
}

/** What an op's kernels can work on. */
export interface GpuLayout {
  /**
   * A value by name, `[width, rows]`. Channel lists are masks: 1 for a channel that is alive, 0 for the others.
   */
  value(name: string): GpuTensor;
  /** A parameter by name: a matrix as `[outputs, inputs]`, its outputs lie side by side; a vector as `[n]`. */
  param(name: string): GpuTensor;
  /** Numbers that depend on the op alone, made once per key. */
  table(key: string, size: readonly number[], make: () => Float32Array): GpuTensor;
  /** Numbers that one call leaves for others; the same tensor for the same name. */
  scratch(name: string, size: readonly GpuExtent[]): GpuTensor;
  /** One number per row of the batch: `[rows]`. */
  readonly tokens: GpuTensor;
  readonly slots: GpuTensor;
  readonly positions: GpuTensor;
  /** 1 for rows that belong to a prompt, 0 for the others. */
  readonly prompt: GpuTensor;
  /** Indices of the rows that want logits: one per such row. */
  readonly logitRows: GpuTensor;
  /** Positions per slot that the executable was compiled for. */
  readonly contextLength: number;
}

/** How an op runs on the GPU. */
export interface GpuKernel<O extends Op> {
  lower(op: O, layout: GpuLayout): readonly GpuCall[];
  /**
   * Of an op that makes a channel list: the product of the linears that read it. Default: core's, which reads all weights and multiplies
   * channels that are not alive by 0.
   */
  linear?(linear: LinearOp, maker: O, layout: GpuLayout): readonly GpuCall[];
}
