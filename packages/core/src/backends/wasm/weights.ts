import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { LinearOp } from '../../ops/op.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import { compileModule, type VectorBits } from './kernelModules.ts';
import { type Checksum, cacheKey, readPacked, writePacked } from './packing/cache.ts';
import type { LinearGroup } from './packing/groups.ts';
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
  groups: ReadonlyMap<LinearOp, LinearGroup>,
  arena: Arena,
  settings: { precision: Precision; vectorBits: VectorBits },
  options: CompileOptions,
): Promise<Weights> {
  const { precision } = settings;
  const sections = planSections(graph, groups, precision);
  const offsets = new Map<string, number>();
  let byteLength = 0;
  for (const [name, section] of sections) {
    offsets.set(name, byteLength);
    byteLength += Math.ceil(section.byteLength / 64) * 64;
  }
  const base = arena.allocate(byteLength, 'weights');
  const target = new Uint8Array(arena.memory.buffer, base, byteLength);
  const checksum = checksumIn(arena.memory, settings.vectorBits);
  const key = cacheKey([precision, options.modelKey, [...sections.values()].map((section) => section.key)]);
  const report = (stage: 'load' | 'pack', fraction: number) => options.onProgress?.({ stage, fraction });
  report('load', 0);
  const cached = options.cacheDir !== undefined && (await readPacked(options.cacheDir, key, target, checksum));
  if (!cached) {
    const { createInt8Packer } = await import('./packing/int8.ts');
    const packer = createInt8Packer();
    target.fill(0);
    let done = 0;
    // Equal keys have equal bytes.
    const packed = new Map<string, number>();
    for (const [name, section] of sections) {
      if (options.signal?.aborted) throw aborted(options.signal);
      const at = offsets.get(name)!;
      const same = packed.get(section.key);
      if (same !== undefined) target.copyWithin(at, same, same + section.byteLength);
      else await section.fill(target.subarray(at, at + section.byteLength), packer);
      packed.set(section.key, at);
      done += section.byteLength;
      report('pack', done / byteLength);
    }
    if (options.cacheDir !== undefined) await writePacked(options.cacheDir, key, target, checksum);
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
