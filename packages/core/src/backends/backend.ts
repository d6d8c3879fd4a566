import type { Graph } from '../graph/graph.ts';
import type { KvCache, KvLayout } from '../kv/kvCache.ts';
import type { KvMemory } from '../kv/kvMemory.ts';
import type { Op } from '../ops/op.ts';
import type { Progress } from '../pipeline/types.ts';

/**
 * What a plugin may ask of a backend. `values`: named values of the graph; `kvCache`: a plugin's own cache; `invariance`: a row's logits are
 * bit-identical whatever else is in the batch.
 */
export type Capability = 'channels' | 'values' | 'slots' | 'kvCache' | 'logits' | 'invariance';

/**
 * One forward: any mix of prompt chunks, single tokens and candidates. Rows of one slot stand in ascending, gapless
 * positions that go on where the slot ends.
 */
export interface Batch {
  /** Token id of each row. */
  tokens: ArrayLike<number>;
  /** KV slot of each row. */
  slots: ArrayLike<number>;
  /** Position of each row in its sequence. */
  positions: ArrayLike<number>;
  /**
   * 1 for each row that belongs to a prompt, 0 for the others; an op may compute them in another way. It must be a matter of the
   * position in the sequence, never of the batch, or the invariance law breaks. Default: 0 for all.
   */
  prompt?: ArrayLike<number>;
  /** Indices of the rows whose logits are wanted. */
  logits: ArrayLike<number>;
  /** Other values that are wanted, by name, for these rows. Values behind `selectRows` number the rows of `logits`. */
  values?: readonly { name: string; rows: ArrayLike<number> }[];
}

export interface ForwardResult {
  /** `[rows that want logits, vocabulary]` float32. From an executable: a view that holds until the next forward. */
  logits: Float32Array;
  /** By name, `[rows wanted, width]` float32; channel lists as 1 for alive and 0 for skipped. */
  values: Record<string, Float32Array>;
}

export interface MemoryReport {
  /** Packed weights. */
  weightsBytes: number;
  /** Scratch for values and kernels. */
  activationsBytes: number;
  kv: { reservedBytes: number; committedBytes: number; liveBytes: number };
}

/** Where time went, summed over all forwards since the start, or since memory was made anew. */
export interface Profile {
  steps: number;
  /** Wall time of all forwards. */
  stepMilliseconds: number;
  /** Time per op kind and layer; ops outside the layers have no layer. `handOver` is what passes between threads. */
  entries: { kind: string; layer: number | undefined; milliseconds: number }[];
  /** The same time per kernel and shape, without `handOver`; empty where a backend has no kernels. */
  kernels: KernelProfile[];
}

/** What one kernel did on matrices of one shape, summed over all its calls. */
export interface KernelProfile {
  kernel: string;
  /** `inputs x outputs` of a linear, of all linears together that share a call; undefined for other kernels. */
  shape: string | undefined;
  calls: number;
  milliseconds: number;
  /** Weight bytes that the calls had to read, each once per call. A sparse call counts as if all channels were alive. */
  bytes: number;
  /** Multiplications and additions: 2 · weights · rows. A sparse call counts as if all channels were alive. */
  operations: number;
}

export interface CompileOptions {
  /** KV slots. */
  slots: number;
  /** Fewer slots, down to so many, will do where memory has no room for all. Default: `slots`. */
  leastSlots?: number;
  /** Tokens per slot. */
  contextLength: number;
  /** Rows of the largest batch. */
  maxRows: number;
  /** Makes the cache, on the backend's memory where that can be managed. */
  kvCache: (layout: KvLayout, memory?: KvMemory) => KvCache;
  /** Names all that the parameters depend on outside the graph: the checkpoint's checksum. */
  modelKey: string;
  /** Folder for packed weights; undefined keeps none. */
  cacheDir: string | undefined;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

export interface Executable {
  readonly kv: KvCache;
  /**
   * Compute one batch and move the slots on. With an error nothing has moved.
   * @throws LLMOPT_BATCH_INVALID, LLMOPT_TOKEN_INVALID, LLMOPT_KV_FULL, LLMOPT_KV_BUDGET, LLMOPT_BUSY, LLMOPT_DISPOSED, LLMOPT_WORKER_DIED
   */
  forward(batch: Batch): Promise<ForwardResult>;
  /**
   * Drop the memory of keys and values, for which all memory is made anew and the weights are read again: work for idle time, where `KvMemory` gives
   * nothing back by itself. A forward in the meantime waits for it. Undefined where the backend cannot, or the cache has no `recycled`.
   * @throws LLMOPT_BUSY when a slot is taken or a batch is computed: nothing has changed then. LLMOPT_DISPOSED. Whatever compiling throws: then each
   * forward throws it from then on
   */
  recycle?(): Promise<void>;
  memory(): MemoryReport;
  profile(): Profile | undefined;
  dispose(): Promise<void>;
}

/** Runs graphs on one kind of hardware. Knows ops, never plugins. */
export interface Backend {
  readonly name: string;
  /** Threads, precision, device: whatever a report should say. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly capabilities: ReadonlySet<Capability>;
  /** Whether it has a kernel for the op. */
  supports(op: Op): boolean;
  compile(graph: Graph, options: CompileOptions): Promise<Executable>;
}
