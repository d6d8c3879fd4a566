import type { WasmModule, WasmValue, WasmWork } from './abi.ts';
import type { Arena } from './arena.ts';
import type { Step, Variant } from './compile.ts';
import { CELL_WORD, callMode, WORDS_PER_CALL } from './control.ts';

/** Lists of kernel calls in shared memory: one for all threads, or one per thread, `stride` bytes apart. */
export interface Program {
  readonly address: number;
  readonly stride: number;
  readonly calls: number;
  /** Of each call, in order, the number of its cell. */
  readonly cells: readonly number[];
  /** Where wanted values are copied to: int32 count, int32 rows, and the copies. */
  readonly captures: ReadonlyMap<string, { count: number; rows: number; copy: WasmValue }>;
}

/** The programs of one variant; those that also copy wanted values out are made when first asked for. */
export type Programs = (wanted: readonly string[]) => Program;

/** Calls whose times are kept in one sum. */
export interface Cell {
  readonly kind: string;
  readonly layer: number | undefined;
  readonly kernel: string;
  readonly work: WasmWork | undefined;
}

/** Kernels by number, as the workers know them, and the cells of time that thread 0 keeps. */
export interface Linked {
  readonly modules: readonly (WasmModule | 'core')[];
  readonly kernels: readonly { module: number; name: string }[];
  readonly cells: readonly Cell[];
  readonly manyRows: Programs;
  readonly oneRow: Programs;
}

/** Writes the compiled steps to memory, and keeps no more of them than that. Without a profile all times go to one cell. */
export function link(
  variants: { manyRows: Variant; oneRow: Variant },
  arena: Arena,
  maxRows: number,
  profile: boolean,
): Linked {
  const modules: (WasmModule | 'core')[] = ['core'];
  const kernels: { module: number; name: string }[] = [];
  const kernelNumbers: Map<string, number>[] = [];
  const cells: Cell[] = [];
  const cellNumbers = new Map<string, number>();

  const kernelNumber = (module: Step['module'], name: string): number => {
    let at = modules.indexOf(module);
    if (at < 0) at = modules.push(module) - 1;
    const numbers = kernelNumbers[at] ?? new Map<string, number>();
    kernelNumbers[at] = numbers;
    const number = numbers.get(name) ?? kernels.push({ module: at, name }) - 1;
    numbers.set(name, number);
    return number;
  };
  const cellNumber = (cell: Cell): number => {
    const key = profile ? JSON.stringify(cell) : '';
    const number = cellNumbers.get(key) ?? cells.push(cell) - 1;
    cellNumbers.set(key, number);
    return number;
  };
  const store = (words: ArrayLike<number>, what: string): number => {
    const at = arena.allocate(words.length * 4, what);
    new Int32Array(arena.memory.buffer, at, words.length).set(words);
    return at;
  };
  const copyRows = kernelNumber('core', 'copyRows');
  const copyCell = cellNumber({ kind: 'copy', layer: undefined, kernel: 'copyRows', work: undefined });

  const programsOf = (variant: Variant, rows: number): Programs => {
    const perThread = variant.threads.length > 1;
    // A call that divides rows is run by each thread alone where there is a list per thread, and nobody needs to wait.
    const mode = (split: boolean) => (perThread && !split ? callMode.alone | callMode.open : 0);
    const calls = variant.threads[0]!.steps.length;
    const lines = variant.threads.map(({ steps }) => {
      const words = new Int32Array(steps.length * WORDS_PER_CALL);
      for (let i = 0; i < steps.length; i++) {
        const { module, call, kind, layer } = steps[i]!;
        const at = i * WORDS_PER_CALL;
        words[at] = kernelNumber(module, call.kernel);
        words[at + 1] = store(call.args, 'kernel arguments');
        words[at + CELL_WORD] = cellNumber({ kind, layer, kernel: call.kernel, work: call.work });
        words[at + 3] = mode(call.split === true);
      }
      return words;
    });
    const valuesOf = variant.threads.map(({ values }) => values);
    const madeBy = new Map<string, number>();
    for (const [i, { produces }] of variant.threads[0]!.steps.entries())
      for (const name of produces) madeBy.set(name, i);

    // Each thread copies its own, to one place: where values are one per thread, all hold the same bits.
    const capture = (name: string) => {
      const first = valuesOf[0]!.get(name)!;
      const count = arena.allocate(4, 'wanted values');
      const list = arena.allocate(rows * 4, 'wanted values');
      const pointer = arena.allocate(first.stride * rows, 'wanted values');
      const perThreadLines = valuesOf.map((values) => {
        const value = values.get(name)!;
        const args = [count, list, value.pointer, value.stride, pointer, value.stride, value.words * 4];
        return [copyRows, store(args, 'kernel arguments'), copyCell, mode(false)];
      });
      return { count, rows: list, copy: { ...first, pointer }, lines: perThreadLines };
    };
    const captures = new Map<string, ReturnType<typeof capture>>();

    /** A thread's list of calls, with the copies of wanted values behind the calls that complete them. */
    function listOf(thread: number, wanted: readonly string[]): Int32Array {
      const own = lines[thread]!;
      const words = new Int32Array((calls + wanted.length) * WORDS_PER_CALL);
      let from = 0;
      let to = 0;
      for (const name of wanted) {
        const end = (madeBy.get(name)! + 1) * WORDS_PER_CALL;
        words.set(own.subarray(from, end), to);
        words.set(captures.get(name)!.lines[thread]!, to + end - from);
        to += end - from + WORDS_PER_CALL;
        from = end;
      }
      words.set(own.subarray(from), to);
      // The step is over when every thread is through.
      words[words.length - 1]! &= ~callMode.open;
      return words;
    }

    const programs = new Map<string, Program>();
    return (names) => {
      const key = JSON.stringify(names);
      const known = programs.get(key);
      if (known) return known;
      const wanted = names.toSorted((a, b) => madeBy.get(a)! - madeBy.get(b)!);
      for (const name of wanted) if (!captures.has(name)) captures.set(name, capture(name));
      const lists = lines.map((_, thread) => listOf(thread, wanted));
      const first = lists[0]!;
      const program: Program = {
        address: storeAll(lists),
        stride: perThread ? first.byteLength : 0,
        calls: first.length / WORDS_PER_CALL,
        cells: profile ? Array.from(first).filter((_, i) => i % WORDS_PER_CALL === CELL_WORD) : [],
        captures: new Map(wanted.map((name) => [name, captures.get(name)!])),
      };
      programs.set(key, program);
      return program;
    };
  };

  /** Lists of one length, one behind the other. */
  function storeAll(lists: readonly Int32Array[]): number {
    const length = lists[0]!.length;
    const at = arena.allocate(length * lists.length * 4, 'a program');
    for (const [i, list] of lists.entries()) new Int32Array(arena.memory.buffer, at + i * length * 4, length).set(list);
    return at;
  }

  return {
    modules,
    kernels,
    cells,
    manyRows: programsOf(variants.manyRows, maxRows),
    oneRow: programsOf(variants.oneRow, 1),
  };
}
