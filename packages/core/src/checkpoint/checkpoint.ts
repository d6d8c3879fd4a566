import type { Metadata } from './metadata.ts';

/** A metadata value as GGUF knows them; 64-bit integers arrive as numbers and must be safe integers. */
export type MetadataValue = number | boolean | string | readonly number[] | readonly boolean[] | readonly string[];

/** One tensor of a checkpoint. */
export interface TensorInfo {
  readonly name: string;
  /** Slowest dimension first: a weight that maps `in` inputs to `out` outputs is `[out, in]`. */
  readonly shape: readonly number[];
  /** The element type as the file names it, such as `Q4_1` or `F32`. */
  readonly type: string;
  /** Size in the file, in bytes. */
  readonly byteLength: number;
}

/** An open model file. Only the header is in memory; tensors are read when asked for. */
export interface Checkpoint {
  readonly path: string;
  /** Architecture name as the file gives it, such as `llama`. */
  readonly architecture: string;
  /** Parameters of the model: the sum of all tensors' elements. */
  readonly parameters: number;
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * The tensor as float32, row-major; `rows` picks a range `[from, to)` of the slowest dimension.
   * @throws LLMOPT_TENSOR_MISSING, LLMOPT_GGUF_INVALID, LLMOPT_FILE_CHANGED
   */
  read(name: string, rows?: readonly [from: number, to: number]): Promise<Float32Array>;
  /** SHA-256 of the whole file in hex; remembered on disk by path, size and modification time. */
  checksum(): Promise<string>;
  close(): Promise<void>;
}
