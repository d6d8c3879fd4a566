import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import type { VectorBits } from './kernelModules.ts';
import { cacheKey, readPacked, writePacked } from './packing/cache.ts';
import { groupLinears, isOutputMajor, type LinearGroup } from './packing/groups.ts';
import { createPacker } from './packing/packer.ts';
import { groupSection, type Precision, rowsSection, type Section, vectorSection } from './packing/sections.ts';

export interface WeightSettings {
  readonly precision: Precision;
  /** Of packing. */
  readonly threads: number;
  readonly vectorBits: VectorBits;
}

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

/** Finds a place in the arena for all weights that the graph uses. Nothing is read. @throws LLMOPT_OUT_OF_MEMORY */
export function placeWeights(graph: Graph, arena: Arena, { precision, threads, vectorBits }: WeightSettings): Weights {
  const sections = planSections(graph, precision);
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
    const key = cacheKey([precision, options.modelKey, [...sections.values()].map((section) => section.key)]);
    const report = (stage: 'load' | 'pack', fraction: number) => options.onProgress?.({ stage, fraction });
    report('load', 0);
    const cached = options.cacheDir !== undefined && (await readPacked(options.cacheDir, key, target));
    if (!cached) {
      await pack(target, options, (fraction) => report('pack', fraction));
      if (options.cacheDir !== undefined) await writePacked(options.cacheDir, key, target);
    }
    report('load', 1);
  }

  async function pack(target: Uint8Array, { signal }: CompileOptions, onProgress: (fraction: number) => void) {
    // Equal keys have equal bytes.
    const distinct = new Map([...sections.values()].map((section) => [section.key, section]));
    const packer = await packerFor([...distinct.values()], { threads, vectorBits });
    try {
      let done = 0;
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
function packerFor(sections: readonly Section[], settings: { threads: number; vectorBits: VectorBits }) {
  const weights = sections.reduce((sum, section) => sum + section.weights, 0);
  const roomBytes = Math.max(...sections.map((section) => section.roomBytes));
  return weights === 0 ? undefined : createPacker(roomBytes, weights, settings);
}

function planSections(graph: Graph, precision: Precision): ReadonlyMap<string, Section> {
  const sections = new Map<string, Section>();
  const groups = groupLinears(graph, checkGraph(graph));
  const vector = (name: string) => sections.set(`vector ${name}`, vectorSection(graph.params.get(name)!));
  const rows = (name: string) => sections.set(`rows ${name}`, rowsSection(graph.params.get(name)!, precision));
  for (const op of graph.ops) {
    if (op.kind === 'embed') rows(op.params.weight);
    else if (op.kind !== 'linear') for (const name of Object.values<string>(op.params)) vector(name);
    else if (isOutputMajor(op, graph)) {
      rows(op.params.weight);
      if (op.params.bias) vector(op.params.bias);
    } else {
      const group = groups.get(op)!;
      sections.set(`group ${group.ops[0]!.outputs.output}`, groupSection(group, graph, precision));
    }
  }
  return sections;
}

export function aborted(signal: AbortSignal): LlmoptError {
  return new LlmoptError('LLMOPT_ABORTED', 'The call was aborted.', { cause: signal.reason });
}
