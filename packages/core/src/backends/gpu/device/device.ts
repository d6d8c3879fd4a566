import type { GpuFunction } from '../abi.ts';

export type GpuMode = 'webgpu' | 'webasm' | 'cpu';

/** Numbers on the device, seen with these sizes, innermost first. */
export interface Operand {
  readonly size: readonly number[];
  /** What gpu.js takes as an argument. */
  readonly handle: unknown;
}

/** A piece of device memory that lasts until it is destroyed. */
export interface Memory {
  readonly length: number;
  view(size: readonly number[]): Operand;
  /** Overwrite from the start. */
  write(data: Float32Array): void;
  destroy(): void;
}

/** Copies `length` numbers. */
export interface Copy {
  readonly from: Operand;
  readonly fromIndex: number;
  readonly to: Operand;
  readonly toIndex: number;
  readonly length: number;
}

/** A kernel with an output of its own, which each run overwrites. */
export interface DeviceKernel {
  /** Runs a grid of threads, each for one number of the output, which is then seen with the sizes `size`. */
  run(operands: readonly Operand[], threads: readonly number[], size: readonly number[]): Promise<Operand>;
  destroy(): void;
}

export interface DeviceFailure {
  readonly kind: 'lost' | 'outOfMemory' | 'refused';
  readonly message: string;
}

/** One way to run gpu.js kernels. Calls take effect in the order in which they are made. */
export interface Device {
  readonly mode: GpuMode;
  /** What computes, for reports. */
  readonly name: string;
  /** Kernels are compiled again for other sizes of their arguments, so that sizes should be few. */
  readonly fixedSizes: boolean;
  /**
   * Memory for `length` numbers, which `fill` writes; without it they are 0.
   * @throws LLMOPT_OUT_OF_MEMORY that names `what`
   */
  allocate(length: number, what: string, fill?: (target: Float32Array) => Promise<void> | void): Promise<Memory>;
  copy(copies: readonly Copy[]): void;
  kernel(source: GpuFunction, constants: Readonly<Record<string, number>>): DeviceKernel;
  /** The first `length` numbers, as they are when all calls so far have run. */
  read(operand: Operand, length: number): Promise<Float32Array>;
  /** Notes what goes wrong from now on without that a call throws; the function returned ends that, and tells the first of it. */
  watch(): () => DeviceFailure | undefined;
  dispose(): Promise<void>;
}
