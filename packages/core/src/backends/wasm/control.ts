/** int32 words at the start of the control block, shared by the main thread and the workers. */
export const control = {
  /** Raised by the main thread to start a step. */
  start: 0,
  /** Set to `start` by thread 0 when the step is done. */
  done: 1,
  /** 1 tells the workers to end. */
  stop: 2,
  /** Address and length of the program to run. */
  program: 3,
  calls: 4,
  /** 1 when thread 0 keeps times. */
  timing: 5,
  /** Three words of the barrier: arrived, generation, sleepers. */
  barrier: 16,
  bytes: 128,
} as const;

/** Numbers in front of the sums per profile entry. */
export const TIMES_HEADER = 2;

/** Milliseconds on a clock that all threads share; each thread's `performance.now()` has an origin of its own. */
export const sharedMilliseconds = () => Number(process.hrtime.bigint()) / 1e6;

/** A program is a list of calls of three words: kernel number, address of its arguments, profile entry. */
export const WORDS_PER_CALL = 3;

/** What a worker is started with. */
export interface WorkerData {
  memory: WebAssembly.Memory;
  modules: WebAssembly.Module[];
  /** Module index and export of every kernel. */
  kernels: { module: number; name: string }[];
  control: number;
  /** Address of float64 milliseconds: when thread 0 began and ended the step, then the sum per profile entry. */
  times: number;
  thread: number;
  threads: number;
}
