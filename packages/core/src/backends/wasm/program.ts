import type { WasmModule, WasmValue } from './abi.ts';
import type { Arena } from './arena.ts';
import type { Step, Variant } from './compile.ts';
import { callMode, WORDS_PER_CALL } from './control.ts';

/** Lists of kernel calls in shared memory: one for all threads, or one per thread, `stride` bytes apart. */
export interface Program {
  readonly address: number;
  readonly stride: number;
  readonly calls: number;
  /** Where wanted values are copied to: int32 count, int32 rows, and the copies. */
  readonly captures: ReadonlyMap<string, { count: number; rows: number; copy: WasmValue }>;
}

/** The programs of one variant; those that also copy wanted values out are made when first asked for. */
export type Programs = (wanted: readonly string[]) => Program;

/** Kernels by number, as the workers know them, and the kinds of time that thread 0 keeps. */
export interface Linked {
  readonly modules: readonly (WasmModule | 'core')[];
  readonly kernels: readonly { module: number; name: string }[];
  readonly entries: readonly { kind: string; layer: number | undefined }[];
  readonly manyRows: Programs;
  readonly oneRow: Programs;
}

/** Writes the compiled steps to memory. */
export function link(variants: { manyRows: Variant; oneRow: Variant }, arena: Arena, maxRows: number): Linked {
  const modules: (WasmModule | 'core')[] = ['core'];
  const kernels: { module: number; name: string }[] = [];
  const entries: { kind: string; layer: number | undefined }[] = [];

  const kernelNumber = (module: Step['module'], name: string): number => {
    if (!modules.includes(module)) modules.push(module);
    const at = modules.indexOf(module);
    const known = kernels.findIndex((kernel) => kernel.module === at && kernel.name === name);
    return known >= 0 ? known : kernels.push({ module: at, name }) - 1;
  };
  const entryNumber = (kind: string, layer: number | undefined): number => {
    const known = entries.findIndex((entry) => entry.kind === kind && entry.layer === layer);
    return known >= 0 ? known : entries.push({ kind, layer }) - 1;
  };
  const store = (words: readonly number[], what: string): number => {
    const at = arena.allocate(words.length * 4, what);
    new Int32Array(arena.memory.buffer, at, words.length).set(words);
    return at;
  };
  const copyRows = kernelNumber('core', 'copyRows');
  const copyEntry = entryNumber('copy', undefined);

  const programsOf = (variant: Variant, rows: number): Programs => {
    const perThread = variant.threads.length > 1;
    // A call that divides rows is run by each thread alone where there is a list per thread, and nobody needs to wait.
    const mode = (split: boolean) => (perThread && !split ? callMode.alone | callMode.open : 0);
    const lines = variant.threads.map(({ steps }) =>
      steps.map(({ module, call, kind, layer }) => [
        kernelNumber(module, call.kernel),
        store(call.args, 'kernel arguments'),
        entryNumber(kind, layer),
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
        return [copyRows, store(args, 'kernel arguments'), copyEntry, mode(false)];
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
        captures: new Map(wanted.map((name) => [name, captures.get(name)!])),
      };
      programs.set(key, program);
      return program;
    };
  };
  return {
    modules,
    kernels,
    entries,
    manyRows: programsOf(variants.manyRows, maxRows),
    oneRow: programsOf(variants.oneRow, 1),
  };
}
