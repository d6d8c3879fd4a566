import type { WasmModule, WasmValue } from './abi.ts';
import type { Arena } from './arena.ts';
import type { Compiled, Step } from './compile.ts';
import { WORDS_PER_CALL } from './control.ts';

/** A list of kernel calls in shared memory. */
export interface Program {
  readonly address: number;
  readonly calls: number;
  /** Where wanted values are copied to: int32 count, int32 rows, and the copies. */
  readonly captures: ReadonlyMap<string, { count: number; rows: number; copy: WasmValue }>;
}

/** Kernels by number, as the workers know them, and the kinds of time that thread 0 keeps. */
export interface Linked {
  readonly modules: readonly (WasmModule | 'core')[];
  readonly kernels: readonly { module: number; name: string }[];
  readonly entries: readonly { kind: string; layer: number | undefined }[];
  program(wanted: readonly string[]): Program;
}

/** Writes the compiled steps to memory; programs that also copy wanted values out are made when first asked for. */
export function link(compiled: Compiled, arena: Arena, maxRows: number): Linked {
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
  const lines = compiled.steps.map((step) => [
    kernelNumber(step.module, step.call.kernel),
    store(step.call.args, 'kernel arguments'),
    entryNumber(step.kind, step.layer),
  ]);

  const capture = (value: WasmValue & { words: number }) => {
    const count = arena.allocate(4, 'wanted values');
    const rows = arena.allocate(maxRows * 4, 'wanted values');
    const pointer = arena.allocate(value.stride * maxRows, 'wanted values');
    const args = [count, rows, value.pointer, value.stride, pointer, value.stride, value.words * 4];
    return { count, rows, copy: { ...value, pointer }, line: [copyRows, store(args, 'kernel arguments'), copyEntry] };
  };
  const captures = new Map<string, ReturnType<typeof capture>>();
  const programs = new Map<string, Program>();
  return {
    modules,
    kernels,
    entries,
    program(wanted) {
      const key = JSON.stringify(wanted);
      const known = programs.get(key);
      if (known) return known;
      for (const name of wanted) if (!captures.has(name)) captures.set(name, capture(compiled.values.get(name)!));
      const words = lines.flatMap((line, i) => [
        ...line,
        ...compiled.steps[i]!.produces.filter((name) => wanted.includes(name)).flatMap(
          (name) => captures.get(name)!.line,
        ),
      ]);
      const program: Program = {
        address: store(words, 'a program'),
        calls: words.length / WORDS_PER_CALL,
        captures: new Map(wanted.map((name) => [name, captures.get(name)!])),
      };
      programs.set(key, program);
      return program;
    },
  };
}
