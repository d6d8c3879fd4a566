import { LlmoptError } from '../../errors.ts';
import { checkCapacity } from '../../kv/contiguous.ts';
import type { KvLayout } from '../../kv/kvCache.ts';
import type { KvMemory } from '../../kv/kvMemory.ts';
import { KV_PAGE, kvBytes, kvRangeBytes } from './lower/core.ts';
import { type SystemPages, systemPages } from './systemPages.ts';

/**
 * The memory of slots that begin at `bases`, each 2 · layers ranges one behind the other. The system is asked for its pages when somebody
 * wants to know or do something that needs them. `close` lets go of the memory, whoever still has the `KvMemory`.
 */
export function createKvMemory(
  wasmMemory: WebAssembly.Memory,
  layout: KvLayout,
  bases: readonly number[],
  openPages: () => SystemPages | undefined = systemPages,
): { kvMemory: KvMemory; close(): void } {
  const { layers, kvHeads, headDim, capacity, elementType } = layout;
  const ranges = 2 * layers;
  const stride = kvRangeBytes(capacity, kvHeads, headDim, elementType);
  const rangeBytes = (tokens: number) => kvBytes(tokens, kvHeads, headDim, elementType);
  let memory: WebAssembly.Memory | undefined = wasmMemory;

  // Other pages than those that ranges are made of would be shared by two of them.
  const pagesOf = () => {
    const pages = openPages();
    return pages?.pageBytes === KV_PAGE ? pages : undefined;
  };
  /** The ranges of a slot that has room for so many tokens. */
  function rangesOf(slot: number, tokens: number): number[] {
    const base = bases[slot];
    if (base === undefined || !Number.isInteger(tokens) || tokens < 0) {
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `There are no ${tokens} tokens of slot ${slot}.`, {
        where: { slot, tokens, slots: bases.length },
      });
    }
    checkCapacity(layout, new Map([[slot, tokens]]));
    return Array.from({ length: ranges }, (_, range) => base + range * stride);
  }
  function bufferOf(): ArrayBufferLike {
    if (!memory) throw new LlmoptError('LLMOPT_DISPOSED', 'The executable that this memory belongs to was disposed.');
    return memory.buffer;
  }

  const kvMemory: KvMemory = {
    get giveBack() {
      return pagesOf() ? 'madvise' : 'none';
    },
    ranges,
    rangeBytes,
    pageBytes: KV_PAGE,
    commit(slot, from, to) {
      const words = new Int32Array(bufferOf());
      // Whole runs are read, so the pages of whole runs are needed.
      const first = Math.floor(rangeBytes(Math.floor(from / 16) * 16) / KV_PAGE) * KV_PAGE;
      const end = from < to ? rangeBytes(to) : 0;
      for (const start of rangesOf(slot, to)) {
        // A write that changes nothing, not even what a worker writes at the same time.
        for (let at = first; at < end; at += KV_PAGE) Atomics.add(words, (start + at) / 4, 0);
      }
    },
    release(slot, tokens) {
      const kept = Math.ceil(rangeBytes(tokens) / KV_PAGE) * KV_PAGE;
      const starts = rangesOf(slot, tokens);
      const pages = pagesOf();
      if (!memory || !pages || kept === stride) return;
      // Nothing is kept in between when nothing is kept.
      const holes = kept === 0 ? [[starts[0]!, ranges * stride]] : starts.map((start) => [start + kept, stride - kept]);
      let refused = 0;
      for (const [from, length] of holes) if (!pages.discard(memory, from!, from! + length!)) refused++;
      if (refused === 0) return;
      throw new LlmoptError('LLMOPT_KV_MEMORY', `The system did not take back memory of slot ${slot}.`, {
        where: { slot, tokens, refused },
        hint: 'Memory that is locked (mlockall) cannot be given back.',
      });
    },
    copy(source, target, tokens) {
      const bytes = new Uint8Array(bufferOf());
      const targets = rangesOf(target, tokens);
      const length = rangeBytes(tokens);
      for (const [range, start] of rangesOf(source, tokens).entries()) {
        bytes.copyWithin(targets[range]!, start, start + length);
      }
    },
    read(slot, tokens) {
      const bytes = new Uint8Array(bufferOf());
      const length = rangeBytes(tokens);
      const out = new Uint8Array(ranges * length);
      for (const [range, start] of rangesOf(slot, tokens).entries()) {
        out.set(bytes.subarray(start, start + length), range * length);
        clearBehind(out.subarray(range * length, (range + 1) * length), tokens);
      }
      return out;
    },
    write(slot, tokens, from) {
      const bytes = new Uint8Array(bufferOf());
      const length = rangeBytes(tokens);
      const starts = rangesOf(slot, tokens);
      if (from.length !== ranges * length) {
        throw new LlmoptError(
          'LLMOPT_OPTION_INVALID',
          `${tokens} tokens of a slot take ${ranges * length} bytes, not ${from.length}.`,
          { where: { slot, tokens, bytes: from.length } },
        );
      }
      for (const [range, start] of starts.entries()) {
        bytes.set(from.subarray(range * length, (range + 1) * length), start);
      }
    },
    residentBytes() {
      const pages = pagesOf();
      if (!memory || !pages) return undefined;
      let count = 0;
      for (const base of bases) {
        const resident = pages.resident(memory, base, base + ranges * stride);
        if (resident === undefined) return undefined;
        count += resident;
      }
      return count * KV_PAGE;
    },
  };

  /** What lies behind the last token in its run is of whoever had the slot before. */
  function clearBehind(range: Uint8Array, tokens: number): void {
    const inRun = tokens % 16;
    if (inRun === 0) return;
    const runBytes = rangeBytes(16) / kvHeads;
    const tokenBytes = headDim * (elementType === 'int16' ? 2 : 4);
    for (let run = range.length - rangeBytes(16); run < range.length; run += runBytes) {
      range.fill(0, run + inRun * tokenBytes, run + 16 * tokenBytes);
      if (elementType === 'int16') range.fill(0, run + 16 * tokenBytes + inRun * 4, run + runBytes);
    }
  }

  return {
    kvMemory,
    close() {
      memory = undefined;
    },
  };
}
