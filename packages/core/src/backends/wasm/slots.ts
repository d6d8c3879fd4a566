import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { KvLayout } from '../../kv/kvCache.ts';
import type { CompileOptions } from '../backend.ts';
import type { Arena } from './arena.ts';
import { KV_PAGE, kvBytes, kvRangeBytes } from './lower/core.ts';
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
  const bytesOf = (precision = kv) => 2 * layers * kvRangeBytes(contextLength, kvHeads, headDim, precision);
  const slotBytes = bytesOf();
  const free = Math.max(0, arena.free() - SPARE_BYTES);
  const fits = (precision = kv) => Math.floor(free / bytesOf(precision));
  const count = Math.min(slots, fits());
  if (count < leastSlots) {
    // Whole runs of 16 positions, in whole pages.
    const pages = Math.floor(free / leastSlots / (2 * layers * KV_PAGE));
    const positions = Math.floor((pages * KV_PAGE) / kvBytes(16, kvHeads, headDim, kv)) * 16;
    const ways = [
      ...(fits() > 0 ? [`at most ${fits()} ${fits() === 1 ? 'slot' : 'slots'}`] : []),
      ...(positions > 0 ? [`a contextLength of at most ${positions}`] : []),
      ...(kv === 'float32' && fits('int16') >= leastSlots ? ["wasm({ kv: 'int16' })"] : []),
    ];
    throw new LlmoptError(
      'LLMOPT_OUT_OF_MEMORY',
      `Keys and values of ${leastSlots} ${leastSlots === 1 ? 'slot' : 'slots'} of ${contextLength} tokens take ${megabytes(leastSlots * slotBytes)}; beside ${megabytes(weightsBytes)} of weights, ${megabytes(free)} of a WebAssembly memory are free.`,
      {
        where: { slots: leastSlots, contextLength, free, slotBytes },
        hint: ways.length > 0 ? `This would fit: ${ways.join(', or ')}.` : 'Use a smaller model.',
      },
    );
  }
  const bases = Array.from({ length: count }, (_, slot) => arena.allocate(slotBytes, `KV slot ${slot}`, KV_PAGE));
  return { bases, layout: { layers, kvHeads, headDim, slots: count, capacity: contextLength, elementType: kv } };
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`;
