import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { KvLayout } from '../../kv/kvCache.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import { kvBytes } from './lower/core.ts';
import type { KvPrecision } from './packing/sections.ts';

// Values that batches ask for get their places later.
const SPARE_BYTES = 16 * 2 ** 20;

/**
 * Finds places for the keys and values of as many slots as are wanted, or, down to `leastSlots`, as fit.
 * @throws LLMOPT_OUT_OF_MEMORY when these do not fit; it says what would
 */
export function placeSlots(
  graph: Graph,
  weightsBytes: number,
  arena: Arena,
  { kv }: { kv: KvPrecision },
  { slots, leastSlots = slots, contextLength }: CompileOptions,
): { bases: number[]; layout: KvLayout } {
  const { layers, kvHeads, headDim } = graph.config;
  const slotBytes = (positions: number, precision = kv) => 2 * layers * kvBytes(positions, kvHeads, headDim, precision);
  const free = Math.max(0, arena.free() - SPARE_BYTES);
  const fits = (precision = kv) => Math.floor(free / Math.ceil(slotBytes(contextLength, precision) / 64) / 64);
  const count = Math.min(slots, fits());
  if (count < leastSlots) {
    // Whole runs of 16 positions.
    const positions = Math.floor(free / leastSlots / slotBytes(16)) * 16;
    const ways = [
      ...(fits() > 0 ? [`at most ${fits()} ${fits() === 1 ? 'slot' : 'slots'}`] : []),
      ...(positions > 0 ? [`a contextLength of at most ${positions}`] : []),
      ...(kv === 'float32' && fits('int16') >= leastSlots ? ["wasm({ kv: 'int16' })"] : []),
    ];
    throw new LlmoptError(
      'LLMOPT_OUT_OF_MEMORY',
      `Keys and values of ${leastSlots} ${leastSlots === 1 ? 'slot' : 'slots'} of ${contextLength} tokens take ${megabytes(leastSlots * slotBytes(contextLength))}; beside ${megabytes(weightsBytes)} of weights, ${megabytes(free)} of a WebAssembly memory are free.`,
      {
        where: { slots: leastSlots, contextLength, free, slotBytes: slotBytes(contextLength) },
        hint: ways.length > 0 ? `This would fit: ${ways.join(', or ')}.` : 'Use a smaller model.',
      },
    );
  }
  const bases = Array.from({ length: count }, (_, slot) => arena.allocate(slotBytes(contextLength), `KV slot ${slot}`));
  return { bases, layout: { layers, kvHeads, headDim, slots: count, capacity: contextLength, elementType: kv } };
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
