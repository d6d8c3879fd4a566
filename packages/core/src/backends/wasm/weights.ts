import { LlmoptError } from '../../errors.ts';
import { checkGraph } from '../../graph/check.ts';
import type { Graph } from '../../graph/graph.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import { cacheKey, readPacked, writePacked } from './packing/cache.ts';
import { groupLinears, isOutputMajor, type LinearGroup } from './packing/groups.ts';
import { groupSection, type Precision, rowsSection, type Section, vectorSection } from './packing/sections.ts';

/** Addresses of the packed weights. */
export interface Weights {
  readonly byteLength: number;
  vector(param: string): number;
  rows(param: string): number;
  /** Groups are told apart by the output of their first linear. */
  group(group: LinearGroup): number;
  /** Bytes of a group, or of a parameter that lies in rows. */
  byteLengthOf(weight: LinearGroup | string): number;
  /** The range, of at most so many bytes, from the first group on: what a step reads first. */
  first(bytes: number): { from: number; bytes: number };
}

/**
 * Packs all weights that the graph uses into one range of the arena, or reads them from the cache.
 * @throws LLMOPT_OUT_OF_MEMORY, LLMOPT_ABORTED, and what reading the parameters throws
 */
export async function loadWeights(
  graph: Graph,
  arena: Arena,
  precision: Precision,
  options: CompileOptions,
): Promise<Weights> {
  const sections = planSections(graph, precision);
  const offsets = new Map<string, number>();
  let byteLength = 0;
  for (const [name, section] of sections) {
    offsets.set(name, byteLength);
    byteLength += Math.ceil(section.byteLength / 64) * 64;
  }
  const base = arena.allocate(byteLength, 'weights');
  const target = new Uint8Array(arena.memory.buffer, base, byteLength);
  const key = cacheKey([precision, options.modelKey, [...sections.values()].map((section) => section.key)]);
  const report = (stage: 'load' | 'pack', fraction: number) => options.onProgress?.({ stage, fraction });
  report('load', 0);
  const cached = options.cacheDir !== undefined && (await readPacked(options.cacheDir, key, target));
  if (!cached) {
    target.fill(0);
    let done = 0;
    // Equal keys have equal bytes.
    const packed = new Map<string, number>();
    for (const [name, section] of sections) {
      if (options.signal?.aborted) throw aborted(options.signal);
      const at = offsets.get(name)!;
      const same = packed.get(section.key);
      if (same !== undefined) target.copyWithin(at, same, same + section.byteLength);
      else await section.fill(target.subarray(at, at + section.byteLength));
      packed.set(section.key, at);
      done += section.byteLength;
      report('pack', done / byteLength);
    }
    if (options.cacheDir !== undefined) await writePacked(options.cacheDir, key, target);
  }
  report('load', 1);
  const at = (name: string) => base + offsets.get(name)!;
  const nameOf = (weight: LinearGroup | string) =>
    typeof weight === 'string' ? `rows ${weight}` : `group ${weight.ops[0]!.outputs.output}`;
  return {
    byteLength,
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
