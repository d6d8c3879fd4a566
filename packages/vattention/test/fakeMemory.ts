import type { KvLayout, KvMemory } from '@llmopt/core';

export const smallLayout: KvLayout = {
  layers: 2,
  kvHeads: 1,
  headDim: 4,
  slots: 5,
  capacity: 90,
  elementType: 'float32',
};

const RUN = 4;

/** What a slot holds where nothing of a sequence is. */
export const POISON = -1;

/** A KvMemory whose numbers are one per token, that notes what is committed, and that fails when it is told to. */
export function fakeMemory(
  { layers, slots, capacity, kvHeads, headDim }: KvLayout,
  giveBack: KvMemory['giveBack'] = 'madvise',
) {
  const tokenBytes = kvHeads * headDim * 4;
  const contents = Array.from({ length: slots }, () => new Int32Array(capacity).fill(POISON));
  /** Tokens whose memory is committed. */
  const committed = new Int32Array(slots);
  const calls = { commits: 0, releases: 0, failures: 0 };
  /** Whether the next call fails. */
  const fails = { commit: () => false, release: () => false };
  function fail(what: string): never {
    calls.failures++;
    throw new Error(`scripted failure of ${what}`);
  }
  const inside = (tokens: number) => {
    if (!Number.isInteger(tokens) || tokens < 0 || tokens > capacity) throw new Error(`${tokens} tokens are outside`);
  };
  const memory: KvMemory = {
    giveBack,
    ranges: 2 * layers,
    pageBytes: 96,
    rangeBytes: (tokens) => Math.ceil(tokens / RUN) * RUN * tokenBytes,
    commit(slot, from, to) {
      inside(to);
      calls.commits++;
      if (from > committed[slot]!) throw new Error(`a gap between ${committed[slot]} and ${from}`);
      committed[slot] = Math.max(committed[slot]!, to);
      if (fails.commit()) fail('commit');
    },
    release(slot, tokens) {
      inside(tokens);
      calls.releases++;
      contents[slot]!.fill(POISON, tokens);
      if (fails.release()) fail('release');
      if (giveBack === 'madvise') committed[slot] = Math.min(committed[slot]!, tokens);
    },
    copy(source, target, tokens) {
      if (tokens > committed[source]! || tokens > committed[target]!)
        throw new Error('a copy of what is not committed');
      contents[target]!.set(contents[source]!.subarray(0, tokens));
    },
    read: (slot, tokens) => {
      const out = new Uint8Array(memory.ranges * memory.rangeBytes(tokens));
      new Int32Array(out.buffer, 0, tokens).set(contents[slot]!.subarray(0, tokens));
      return out;
    },
    write(slot, tokens, bytes) {
      if (bytes.length !== memory.ranges * memory.rangeBytes(tokens)) throw new Error('other bytes than read gave');
      contents[slot]!.set(new Int32Array(Uint8Array.from(bytes).buffer, 0, tokens));
    },
    residentBytes: () => undefined,
  };
  /** All memory is dropped and made anew. */
  function recycle() {
    for (const of of contents) of.fill(POISON);
    committed.fill(0);
  }
  return { memory, contents, committed, calls, fails, recycle };
}
