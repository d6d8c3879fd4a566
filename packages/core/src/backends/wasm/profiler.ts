import type { KernelProfile, Profile } from '../backend.ts';
import { TIMES_HEADER } from './control.ts';
import type { Cell, Program } from './program.ts';

/** Adds up what thread 0 timed. `times`: see `WorkerData`. */
export function createProfiler(cells: readonly Cell[], times: Float64Array, memory: WebAssembly.Memory) {
  const counts = cells.map(() => ({ calls: 0, bytes: 0, operations: 0 }));
  let steps = 0;
  let stepMilliseconds = 0;
  // Waking the workers and hearing from them again: what the main thread waits for outside all ops.
  let handOverMilliseconds = 0;

  return {
    /** Notes that a program ran between two times of the shared clock. */
    add(program: Program, began: number, ended: number): void {
      steps++;
      stepMilliseconds += ended - began;
      handOverMilliseconds += times[0]! - began + (ended - times[1]!);
      for (const number of program.cells) {
        const { work } = cells[number]!;
        const count = counts[number]!;
        count.calls++;
        const rows = work ? new Int32Array(memory.buffer, work.rows, 1)[0]! : 0;
        if (!work || rows === 0) continue;
        count.bytes += work.bytes;
        count.operations += work.operationsPerRow * rows;
      }
    },

    profile(): Profile {
      const entries = new Map<string, Profile['entries'][number]>();
      const kernels = new Map<string, KernelProfile>();
      for (const [i, { kind, layer, kernel, work }] of cells.entries()) {
        const milliseconds = times[TIMES_HEADER + i]!;
        const { calls, bytes, operations } = counts[i]!;
        if (calls === 0) continue;
        const entryKey = `${kind} ${layer}`;
        const entry = entries.get(entryKey) ?? { kind, layer, milliseconds: 0 };
        entry.milliseconds += milliseconds;
        entries.set(entryKey, entry);
        const kernelKey = `${kernel} ${work?.shape}`;
        const sum = kernels.get(kernelKey) ?? {
          ...{ kernel, shape: work?.shape, calls: 0, milliseconds: 0, bytes: 0, operations: 0 },
        };
        sum.calls += calls;
        sum.milliseconds += milliseconds;
        sum.bytes += bytes;
        sum.operations += operations;
        kernels.set(kernelKey, sum);
      }
      const handOver = { kind: 'handOver', layer: undefined, milliseconds: handOverMilliseconds };
      return {
        steps,
        stepMilliseconds,
        entries: [...entries.values(), handOver].filter(({ milliseconds }) => milliseconds > 0),
        kernels: [...kernels.values()],
      };
    },
  };
}
