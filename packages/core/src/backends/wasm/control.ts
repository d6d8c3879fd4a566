/** Threads that the control block has room for. */
export const MAX_THREADS = 64;

/** int32 words at the start of the control block, shared by the main thread and the workers. */
export const control = {
  /** Raised by the main thread to start a step. */
  start: 0,
  /** Set to `start` by thread 0 when the step is done. */
  done: 1,
  /** 1 tells the workers to end. */
  stop: 2,
  /** Address of thread 0's list of calls, bytes from there to the next thread's, and the calls in each. */
  program: 3,
  stride: 4,
  calls: 5,
  /** 1 when thread 0 keeps times. */
  timing: 6,
  /** Three words of the barrier: arrived, generation, sleepers. */
  barrier: 16,
  /** Words of each thread's own at the barrier, and from one thread's to the next's. */
  patience: 32,
  patienceStride: 16,
  bytes: 128 + MAX_THREADS * 64,
} as const;

/** Numbers in front of the sums per cell of the profile. */
export const TIMES_HEADER = 2;

/** Milliseconds on a clock that all threads share; each thread's `performance.now()` has an origin of its own. */
export const sharedMilliseconds = () => Number(process.hrtime.bigint()) / 1e6;

/** A program is a list of calls of four words: kernel number, address of its arguments, cell of the profile, mode. */
export const WORDS_PER_CALL = 4;
export const CELL_WORD = 2;

/** How a thread runs a call: 0 is as one of all threads, with a barrier behind it. */
export const callMode = {
  /** As thread 0 of 1. */
  alone: 1,
  /** Without a barrier behind it. */
  open: 2,
} as const;

/** What a worker is started with. */
export interface WorkerData {
  memory: WebAssembly.Memory;
  modules: WebAssembly.Module[];
  /** Module index and export of every kernel. */
  kernels: { module: number; name: string }[];
  control: number;
  /** Address of float64 milliseconds: when thread 0 began and ended the step, then the sum per cell. */
  times: number;
  thread: number;
  threads: number;
  /** What a step reads first: threads bring it into the caches while they wait for the next step. */
  readAhead: { from: number; bytes: number };
}
