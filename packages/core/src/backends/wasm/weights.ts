import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { LinearOp } from '../../ops/op.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import { compileModule, type VectorBits } from './kernelModules.ts';
import { type Checksum, cacheKey, readPacked, writePacked } from './packing/cache.ts';
import type { LinearGroup } from './packing/groups.ts';
import type { Packer } from './packing/packer.ts';
import { groupSection, type Precision, rowsSection, type Section, vectorSection } from './packing/sections.ts';

/** Addresses of the packed weights. */
export interface Weights {
  readonly byteLength: number;
  /**
   * Packs the weights, or reads them from the cache.
   * @throws LLMOPT_OUT_OF_MEMORY, LLMOPT_ABORTED, LLMOPT_WORKER_DIED, and what reading the parameters throws
   */
  load(options: CompileOptions): Promise<void>;
  vector(param: string): number;
  rows(param: string): number;
  /** Groups are told apart by the output of their first linear. */
  group(group: LinearGroup): number;
  /** Bytes of a group, or of a parameter that lies in rows. */
  byteLengthOf(weight: LinearGroup | string): number;
  /** The range, of at most so many bytes, from the first group on: what a step reads first. */
  first(bytes: number): { from: number; bytes: number };
}

export interface WeightSettings {
  readonly precision: Precision;
  /** Of packing. */
  readonly threads: number;
  readonly vectorBits: VectorBits;
}

/** Finds a place in the arena for all weights that the graph uses. Nothing is read. @throws LLMOPT_OUT_OF_MEMORY */
export function placeWeights(
  graph: Graph,
  groups: ReadonlyMap<LinearOp, LinearGroup>,
  arena: Arena,
  settings: WeightSettings,
): Weights {
  const { precision } = settings;
  const sections = planSections(graph, groups, precision);
  const offsets = new Map<string, number>();
  const padded = (section: Section) => Math.ceil(section.byteLength / 64) * 64;
  let byteLength = 0;
  for (const [name, section] of sections) {
    offsets.set(name, byteLength);
    byteLength += padded(section);
  }
  const base = arena.allocate(byteLength, 'weights');

  async function load(options: CompileOptions): Promise<void> {
    const target = new Uint8Array(arena.memory.buffer, base, byteLength);
    const checksum = checksumIn(arena.memory, settings.vectorBits);
    const key = cacheKey([precision, options.modelKey, [...sections.values()].map((section) => section.key)]);
    const report = (stage: 'load' | 'pack', fraction: number) => options.onProgress?.({ stage, fraction });
    report('load', 0);
    const cached = options.cacheDir !== undefined && (await readPacked(options.cacheDir, key, target, checksum));
    if (!cached) {
      await pack(target, options.signal, (fraction) => report('pack', fraction));
      if (options.cacheDir !== undefined) await writePacked(options.cacheDir, key, target, checksum);
    }
    report('load', 1);
  }

  async function pack(target: Uint8Array, signal: AbortSignal | undefined, onProgress: (fraction: number) => void) {
    const packer = await packerFor([...sections.values()], settings);
    try {
      let done = 0;
      // Equal keys have equal bytes.
      const packed = new Map<string, number>();
      for (const [name, section] of sections) {
        if (signal?.aborted) throw aborted(signal);
        const offset = offsets.get(name)!;
        const same = packed.get(section.key);
        if (same !== undefined) target.copyWithin(offset, same, same + padded(section));
        else await section.fill(target.subarray(offset, offset + padded(section)).fill(0), packer);
        packed.set(section.key, offset);
        done += padded(section);
        onProgress(done / byteLength);
      }
    } finally {
      await packer?.dispose();
    }
  }

  const at = (name: string) => base + offsets.get(name)!;
  const nameOf = (weight: LinearGroup | string) =>
    typeof weight === 'string' ? `rows ${weight}` : `group ${weight.ops[0]!.outputs.output}`;
  return {
    byteLength,
    load,
    vector: (param) => at(`vector ${param}`),
    rows: (param) => at(nameOf(param)),
    group: (group) => at(nameOf(group)),
    byteLengthOf: (weight) => sections.get(nameOf(weight))!.byteLength,
    first(bytes) {
      const groups = [...offsets].filter(([name]) => name.startsWith('group ')).map(([, offset]) => offset);
      const offset = groups.length > 0 ? Math.min(...groups) : 0;
      return { from: base + offset, bytes: Math.min(bytes, byteLength - offset) };
    },
  };
}

/** A packer for the sections that need one. */
async function packerFor(sections: readonly Section[], settings: WeightSettings): Promise<Packer | undefined> {
  const distinct = new Map(sections.map(({ key, weights }) => [key, weights]));
  const weights = [...distinct.values()].reduce((sum, count) => sum + count, 0);
  if (weights === 0) return undefined;
  const { createPacker } = await import('./packing/packer.ts');
  return createPacker(Math.max(...sections.map(({ roomBytes }) => roomBytes)), weights, settings);
}

/** The kernels' sum over ranges of their memory. */
function checksumIn(memory: WebAssembly.Memory, vectorBits: VectorBits): Checksum {
  const { exports } = new WebAssembly.Instance(compileModule('core', vectorBits), { env: { memory } });
  const sum = exports.checksum as (from: number, bytes: number) => bigint;
  return ({ byteOffset, byteLength }) => BigInt.asUintN(64, sum(byteOffset, byteLength)).toString(16);
}

function planSections(
  graph: Graph,
  groups: ReadonlyMap<LinearOp, LinearGroup>,
  precision: Precision,
): ReadonlyMap<string, Section> {
  const sections = new Map<string, Section>();
  const vector = (name: string) => sections.set(`vector ${name}`, vectorSection(graph.params.get(name)!));
  const rows = (name: string) => sections.set(`rows ${name}`, rowsSection(graph.params.get(name)!, precision));
  for (const op of graph.ops) {
    const group = op.kind === 'linear' ? groups.get(op) : undefined;
    if (group) {
      if (group.ops[0] === op) sections.set(`group ${op.outputs.output}`, groupSection(group, graph, precision));
    } else if (op.kind === 'embed') rows(op.params.weight);
    else if (op.kind === 'linear') {
      rows(op.params.weight);
      if (op.params.bias) vector(op.params.bias);
    } else for (const name of Object.values<string>(op.params)) vector(name);
  }
  return sections;
}

export function aborted(signal: AbortSignal): LlmoptError {
  return new LlmoptError('LLMOPT_ABORTED', 'The call was aborted.', { cause: signal.reason });
}
