import type { Metadata } from './metadata.ts';

/** A metadata value as GGUF and `config.json` know them; 64-bit integers arrive as numbers and must be safe integers. */
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

/** An open model. Only headers are in memory; tensors are read when asked for. */
export interface Checkpoint {
  /** By whose conventions tensors and metadata are named: llama.cpp's in a GGUF file, transformers' with safetensors. */
  readonly format: 'gguf' | 'safetensors';
  /** The GGUF file, or the folder that holds `config.json` and the safetensors. */
  readonly path: string;
  /** Architecture name as the model gives it, such as `llama`: `general.architecture`, or `model_type` of `config.json`. */
  readonly architecture: string;
  /** Parameters of the model: the sum of all tensors' elements. */
  readonly parameters: number;
  /** Of safetensors the fields of `config.json` under their own names, those of objects within as `object.field`. */
  readonly metadata: Metadata;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * The tensor as float32, row-major; `rows` picks a range `[from, to)` of the slowest dimension.
   * @throws LLMOPT_TENSOR_MISSING, LLMOPT_SAFETENSORS_UNSUPPORTED, LLMOPT_OPTION_INVALID, LLMOPT_FILE_CHANGED, LLMOPT_DISPOSED
   */
  read(name: string, rows?: readonly [from: number, to: number]): Promise<Float32Array>;
  /**
   * SHA-256 in hex of all that the weights depend on: the file, or the files of safetensors and `config.json`. Those of big
   * files are remembered on disk by path, size and modification time.
   */
  checksum(): Promise<string>;
  close(): Promise<void>;
}
