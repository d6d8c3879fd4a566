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

/** Writes the compiled steps to memory. */
export function link(variants: { manyRows: Variant; oneRow: Variant }, arena: Arena, maxRows: number): Linked {
  const modules: (WasmModule | 'core')[] = ['core'];
  const kernels: { module: number; name: string }[] = [];
  const cells: Cell[] = [];
  const cellNumbers = new Map<string, number>();

  const kernelNumber = (module: Step['module'], name: string): number => {
    if (!modules.includes(module)) modules.push(module);
    const at = modules.indexOf(module);
    const known = kernels.findIndex((kernel) => kernel.module === at && kernel.name === name);
    return known >= 0 ? known : kernels.push({ module: at, name }) - 1;
  };
  const cellNumber = (cell: Cell): number => {
    const key = JSON.stringify(cell);
    const number = cellNumbers.get(key) ?? cells.push(cell) - 1;
    cellNumbers.set(key, number);
    return number;
  };
  const store = (words: readonly number[], what: string): number => {
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
    const lines = variant.threads.map(({ steps }) =>
      steps.map(({ module, call, kind, layer }) => [
        kernelNumber(module, call.kernel),
        store(call.args, 'kernel arguments'),
        cellNumber({ kind, layer, kernel: call.kernel, work: call.work }),
        mode(call.split === true),
      ]),
    );
    // Each thread copies its own, to one place: where values are one per thread, all hold the same bits.
    const capture = (name: string) => {
      const { stride } = variant.threads[0]!.values.get(name)!;
      const count = arena.allocate(4, 'wanted values');
      const list = arena.allocate(rows * 4, 'wanted values');
      const pointer = arena.allocate(stride * rows, 'wanted values');
      const perThreadLines = variant.threads.map(({ values }) => {
        const value = values.get(name)!;
        const args = [count, list, value.pointer, stride, pointer, stride, value.words * 4];
        return [copyRows, store(args, 'kernel arguments'), copyCell, mode(false)];
      });
      return { count, rows: list, copy: { ...variant.threads[0]!.values.get(name)!, pointer }, lines: perThreadLines };
    };
    const captures = new Map<string, ReturnType<typeof capture>>();
    const programs = new Map<string, Program>();
    return (wanted) => {
      const key = JSON.stringify(wanted);
      const known = programs.get(key);
      if (known) return known;
      for (const name of wanted) if (!captures.has(name)) captures.set(name, capture(name));
      const lists = variant.threads.map(({ steps }, thread) => {
        const words = steps.flatMap(({ produces }, i) => [
          ...lines[thread]![i]!,
          ...produces.filter((name) => wanted.includes(name)).flatMap((name) => captures.get(name)!.lines[thread]!),
        ]);
        // The step is over when every thread is through.
        words[words.length - 1]! &= ~callMode.open;
        return words;
      });
      const bytes = lists[0]!.length * 4;
      const program: Program = {
        address: store(lists.flat(), 'a program'),
        stride: perThread ? bytes : 0,
        calls: lists[0]!.length / WORDS_PER_CALL,
        cells: lists[0]!.filter((_, i) => i % WORDS_PER_CALL === CELL_WORD),
        captures: new Map(wanted.map((name) => [name, captures.get(name)!])),
      };
      programs.set(key, program);
      return program;
    };
  };
  return {
    modules,
    kernels,
    cells,
    manyRows: programsOf(variants.manyRows, maxRows),
    oneRow: programsOf(variants.oneRow, 1),
  };
}
