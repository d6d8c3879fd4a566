import type { Op } from '../../ops/op.ts';

/**
 * Version of the kernel ABI and of the memory layout that kernels see. A plugin's kernels are built for one version.
 *
 * A kernel is an export `(args: i32, thread: i32, threads: i32) → void` of a WebAssembly module that imports `env.memory` (shared)
 * and nothing else, and that has no data section: all modules share one memory. `args` points at 32-bit words, as `lower` listed them.
 * With several rows every thread calls every kernel, and behind each call all threads meet at a barrier. A single row would leave all
 * threads but one waiting: then each thread runs the calls that are not `split` alone (thread 0 of 1), on values of its own.
 */
export const abiVersion = 2;

/** A WebAssembly module that holds kernels. */
export interface WasmModule {
  readonly name: string;
  readonly abiVersion: number;
  readonly base64: string;
}

/** One kernel call: its words are pointers (bytes), integers, and floats through `float32Bits`. */
export interface WasmCall {
  readonly kernel: string;
  readonly args: readonly number[];
  /** Threads divide the work within a row. Only core's linear and attention do; other calls divide the rows. */
  readonly split?: true;
  /** What it works on, for profiles. Only calls that read weight matrices have it. */
  readonly work?: WasmWork;
}

/** Weights that a kernel call reads, and what it computes with them. */
export interface WasmWork {
  /** `inputs x outputs` */
  readonly shape: string;
  /** Of the weights, with their scales. */
  readonly bytes: number;
  /** Multiplications and additions per row. */
  readonly operationsPerRow: number;
  /** Address of the int32 that holds how many rows there are; without rows nothing is read. */
  readonly rows: number;
}

/**
 * Where a value lies. `float`: rows of `width` float32 numbers, `stride` bytes apart, room for whole 16-byte vectors.
 * `channels`: rows of int32, a count and then that many ascending indices.
 */
export interface WasmValue {
  readonly pointer: number;
  /** Bytes from row to row. */
  readonly stride: number;
  readonly width: number;
}

/** What `lower` may ask for. All pointers are byte addresses. */
export interface WasmLayout {
  readonly threads: number;
  /** Rows that every value has room for, a multiple of 4. */
  readonly maxRows: number;
  readonly contextLength: number;
  value(name: string): WasmValue;
  /** Address of the int32 that holds how many rows the value has in this step. */
  rows(name: string): number;
  /** Address of a parameter as float32, row-major, padded to 64 bytes. */
  param(name: string): number;
  /** Whether this is the list of calls for a single row. */
  readonly oneRow: boolean;
  /** Scratch that lasts for this op only; for a single row each thread has its own. */
  scratch(bytes: number): number;
  /**
   * One range for all threads, the same for all who ask for one use and size: threads may read it until they arrive at the barrier
   * behind the next split call.
   */
  commonScratch(use: string, bytes: number): number;
  /**
   * Addresses of two counters, for a call that deals out its work: its own, and the one that it sets to 0 for the next such call. Both 0
   * for a single row: there, each thread takes one run.
   */
  counters(): readonly [own: number, next: number];
  /** Addresses of the batch's int32 columns, and the table of the slots' base addresses. `prompt`: 1 for rows that belong to a prompt. */
  readonly batch: {
    tokens: number;
    slots: number;
    positions: number;
    prompt: number;
    logitRows: number;
    logitCount: number;
    slotBases: number;
  };
}

/** How an op runs on this backend. */
export interface WasmKernel<O extends Op> {
  readonly module: WasmModule;
  /** The kernel calls of an op, in order. Called once for several rows, and once per thread for a single row. */
  lower(op: O, layout: WasmLayout): readonly WasmCall[];
}

const bits = new DataView(new ArrayBuffer(4));

/** A float as the 32-bit word that a kernel reads with `load<f32>`. */
export function float32Bits(value: number): number {
  bits.setFloat32(0, value, true);
  return bits.getInt32(0, true);
}
