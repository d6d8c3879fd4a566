import type { WasmModule } from './abi.ts';
import type { Arena } from './arena.ts';
import { control, WORDS_PER_CALL } from './control.ts';
import { compileModule, type VectorBits } from './kernelModules.ts';
import { createPool } from './pool.ts';

/** A kernel and its words. */
export interface KernelCall {
  readonly kernel: string;
  readonly args: readonly number[];
}

/** Runs kernels over the memory of an arena, outside all graphs. */
export interface KernelRunner {
  /** The calls in order, each when all threads are through the one before. @throws LLMOPT_WORKER_DIED */
  run(calls: readonly KernelCall[]): Promise<void>;
  dispose(): Promise<void>;
}

// Room for the calls of a run, with their words.
const PROGRAM_WORDS = 2048;

/** Runs kernels of a module on worker threads, which start with the first run. @throws LLMOPT_OUT_OF_MEMORY */
export function workerKernels(
  arena: Arena,
  module: WasmModule | 'core',
  threads: number,
  vectorBits: VectorBits,
): KernelRunner {
  const { memory } = arena;
  const compiled = compileModule(module, vectorBits);
  const names = WebAssembly.Module.exports(compiled).map(({ name }) => name);
  const controlAt = arena.allocate(control.bytes, 'control');
  const address = arena.allocate(PROGRAM_WORDS * 4, 'a program');
  const pool = createPool(
    {
      memory,
      // The barrier is core's.
      modules: [compileModule('core', vectorBits), compiled],
      kernels: names.map((name) => ({ module: 1, name })),
      ...{ control: controlAt, times: 0, threads, readAhead: { from: 0, bytes: 0 } },
    },
    false,
  );
  return {
    async run(calls) {
      const words = new Int32Array(memory.buffer, address, PROGRAM_WORDS);
      let at = calls.length * WORDS_PER_CALL;
      for (const [i, { kernel, args }] of calls.entries()) {
        words.set([names.indexOf(kernel), address + at * 4, 0, 0], i * WORDS_PER_CALL);
        words.set(args, at);
        at += args.length;
      }
      await pool.run({ address, stride: 0, calls: calls.length, cells: [], captures: new Map() });
    },
    dispose: () => pool.dispose(),
  };
}

/** Runs kernels of a module on the calling thread: for work that is done before workers would have started. @throws LLMOPT_OUT_OF_MEMORY */
export function kernelsHere(arena: Arena, module: WasmModule | 'core', vectorBits: VectorBits): KernelRunner {
  const { memory } = arena;
  const { exports } = new WebAssembly.Instance(compileModule(module, vectorBits), { env: { memory } });
  const address = arena.allocate(PROGRAM_WORDS * 4, 'kernel arguments');
  return {
    async run(calls) {
      for (const { kernel, args } of calls) {
        new Int32Array(memory.buffer, address, args.length).set(args);
        (exports[kernel] as (args: number, thread: number, threads: number) => void)(address, 0, 1);
      }
    },
    async dispose() {},
  };
}
