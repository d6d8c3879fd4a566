import { type KvLayout, LlmoptError, type Sequence } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { dice } from '../../test/dice.ts';
import { fakeMemory, POISON, smallLayout } from '../../test/fakeMemory.ts';
import { settingsOf, type VattentionOptions } from '../options.ts';
import { groupsOf } from './groups.ts';
import { createManagedCache, type SequenceState } from './managedCache.ts';

interface World {
  options: VattentionOptions;
  memory: 'madvise' | 'recycle' | 'undefined';
  promptsDiffer?: boolean;
  failures?: boolean;
  seed: number;
}

const full = 5 * 4 * 1440;

const worlds: [string, World][] = [
  ['defaults', { options: {}, memory: 'madvise', seed: 1 }],
  ['a tight budget', { options: { budgetBytes: full / 3, groupBytes: 1 }, memory: 'madvise', seed: 2 }],
  [
    'a tight budget and failures',
    { options: { budgetBytes: full / 3, groupBytes: 1 }, memory: 'madvise', failures: true, seed: 3 },
  ],
  ['failures', { options: { warmBytes: 4000, groupBytes: 200 }, memory: 'madvise', failures: true, seed: 4 }],
  [
    'eager reclaim',
    { options: { reclaim: 'eager', groupBytes: 1, budgetBytes: full / 2 }, memory: 'madvise', seed: 5 },
  ],
  ['no prefixes', { options: { prefixReuse: false, groupBytes: 100 }, memory: 'madvise', seed: 6 }],
  [
    'prompts that differ',
    {
      options: { groupBytes: 1, budgetBytes: full / 2 },
      memory: 'madvise',
      promptsDiffer: true,
      failures: true,
      seed: 7,
    },
  ],
  [
    'nothing given back but all at once',
    { options: { groupBytes: 1, budgetBytes: full / 2 }, memory: 'recycle', failures: true, seed: 8 },
  ],
  [
    'no managed memory',
    { options: { groupBytes: 1, budgetBytes: full / 2 }, memory: 'undefined', promptsDiffer: true, seed: 9 },
  ],
  [
    'nothing ahead',
    {
      options: { eagerTokens: 0, watermark: 0.3, groupBytes: 1, budgetBytes: full / 2 },
      memory: 'madvise',
      failures: true,
      seed: 10,
    },
  ],
];

/** What stands for the keys and values of a token: all that they depend on. */
function marker(before: number, token: number, isPrompt: boolean): number {
  return (Math.imul(before ^ (token + (isPrompt ? 1000 : 0)), 0x01000193) >>> 1) & 0x7fffffff;
}

describe('managed cache', () => {
  it.each(worlds)('keeps its books over 10,000 random operations: %s', (_, world) => {
    const counts = run(world, 10_000);
    if (world.memory !== 'undefined' && world.failures)
      expect(counts.failures).toBeGreaterThan(world.memory === 'recycle' ? 0 : 20);
    const prefixes = world.options.prefixReuse !== false && world.options.reclaim !== 'eager';
    if (prefixes) expect(counts.reuses).toBeGreaterThan(50);
    expect(counts.acquired).toBeGreaterThan(500);
    if (world.options.budgetBytes) expect(counts.refused).toBeGreaterThan(10);
  });
});

it('asks for a recycling when more is warm than may be, or than was to be trimmed to', () => {
  const { memory } = fakeMemory(smallLayout, 'recycle');
  const { kv, trim } = createManagedCache(
    smallLayout,
    { memory, modelKey: 'model', promptsDiffer: false },
    settingsOf({ groupBytes: 1, warmBytes: 40 * 64, eagerTokens: 0 }),
  );
  const use = (length: number) => {
    const slot = kv.acquire()!;
    kv.reserve(new Map([[slot, length]]));
    kv.commit(slot, length);
    kv.release(slot);
  };
  use(30);
  expect(kv.recycleDue?.()).toBe(false);
  expect(trim(100)).toBe(0);
  expect(kv.recycleDue?.()).toBe(true);
  kv.recycled?.();
  use(30);
  expect(kv.recycleDue?.()).toBe(false);
  use(60);
  expect(kv.recycleDue?.()).toBe(true);
});

function run({ options, memory: kind, promptsDiffer = false, failures = false, seed }: World, operations: number) {
  const layout: KvLayout = smallLayout;
  const settings = settingsOf(options);
  const fake = fakeMemory(layout, kind === 'recycle' ? 'recycle' : 'madvise');
  const memory = kind === 'undefined' ? undefined : fake.memory;
  const groups = groupsOf(layout, memory, settings.groupBytes);
  const cache = createManagedCache(layout, { memory, modelKey: 'model', promptsDiffer }, settings);
  const { kv } = cache;
  const next = dice(seed);
  const live = new Map<number, { sequence: Sequence & { tokens: number[] }; direct: boolean }>();
  const saved: SequenceState[] = [];
  const ended: (Sequence & { tokens: number[] })[] = [];
  const counts = { acquired: 0, refused: 0, failures: 0, reuses: 0 };
  let failNow = false;
  fake.fails.commit = () => failNow && next(6) === 0;
  fake.fails.release = () => failNow && next(6) === 0;
  let id = 0;

  const pick = () => [...live.keys()][next(live.size)]!;
  const anySlot = () => (next(12) === 0 ? next(layout.slots + 1) : live.size > 0 ? pick() : 0);
  const families = Array.from({ length: 4 }, (_, family) =>
    Array.from({ length: layout.capacity }, () => family * 10 + next(3)),
  );
  function newSequence(): Sequence & { tokens: number[] } {
    const earlier = ended[next(6)];
    // One that lost its slot comes back as it is; the next turn of a chat begins with all of the one before.
    if (earlier && next(6) === 0) return { ...earlier, tokens: [...earlier.tokens] };
    const shared = earlier && next(3) === 0 ? earlier.tokens : families[next(4)]!.slice(0, next(60));
    const tokens = [...shared, ...Array.from({ length: 1 + next(24) }, () => next(5))].slice(0, layout.capacity);
    return { id: id++, tokens, promptLength: tokens.length };
  }
  function markers(tokens: readonly number[], promptLength: number, length: number): number[] {
    let last = 7;
    return tokens.slice(0, length).map((token, at) => (last = marker(last, token, promptsDiffer && at < promptLength)));
  }
  const contentsOf = (slot: number, length: number) => [...fake.contents[slot]!.subarray(0, length)];

  /** Everything but the counters. */
  const state = () => {
    const { committedBytes, liveBytes, warmBytes } = cache.stats();
    return JSON.stringify([
      ...[committedBytes, liveBytes, warmBytes, [...fake.committed], fake.contents.map((of) => [...of])],
      Array.from({ length: layout.slots }, (_, slot) => [kv.isAcquired(slot), kv.length(slot)]),
    ]);
  };

  /** As `forward` does: room first, then keys and values, then the new lengths. Computes anything at most once. */
  function advance(lengths: Map<number, number>): boolean {
    const before = state();
    const failuresBefore = fake.calls.failures;
    try {
      kv.reserve(lengths);
    } catch (error) {
      expect(LlmoptError.isInstance(error)).toBe(true);
      const { code } = error as LlmoptError;
      expect(['LLMOPT_KV_FULL', 'LLMOPT_KV_BUDGET', 'LLMOPT_BATCH_INVALID', 'LLMOPT_OUT_OF_MEMORY']).toContain(code);
      if (fake.calls.failures === failuresBefore) expect(state()).toBe(before);
      if (code === 'LLMOPT_OUT_OF_MEMORY') expect(fake.calls.failures).toBeGreaterThan(failuresBefore);
      counts.refused++;
      return false;
    }
    const calls = { ...fake.calls };
    kv.reserve(lengths);
    expect(fake.calls).toEqual(calls);
    // What happens while a step computes must not touch what it writes.
    if (next(4) === 0) cache.trim(next(2000));
    if (next(4) === 0) kv.idle?.();
    for (const [slot, length] of lengths) {
      const { sequence, direct } = live.get(slot)!;
      while (sequence.tokens.length < length) sequence.tokens.push(next(5));
      const values = markers(sequence.tokens, sequence.promptLength, length);
      if (memory && length > kv.length(slot)) expect(fake.committed[slot]).toBeGreaterThanOrEqual(length);
      for (let at = kv.length(slot); at < length; at++) fake.contents[slot]![at] = direct ? POISON : values[at]!;
    }
    for (const [slot, length] of lengths) kv.commit(slot, length);
    return true;
  }

  const acts: (() => void)[] = [
    function acquire() {
      const direct = next(6) === 0;
      const sequence = newSequence();
      const failuresBefore = fake.calls.failures;
      const before = cache.stats();
      let slot: number | undefined;
      try {
        slot = kv.acquire(direct ? undefined : sequence);
      } catch (error) {
        expect(error).toMatchObject({ code: 'LLMOPT_KV_BUDGET' });
        counts.refused++;
        return;
      }
      if (slot === undefined) {
        counts.refused++;
        expect(live.size).toBeGreaterThan(0);
        return;
      }
      expect(live.has(slot)).toBe(false);
      live.set(slot, { sequence, direct });
      counts.acquired++;
      const length = kv.length(slot);
      expect(length).toBeLessThan(direct ? 1 : sequence.tokens.length);
      expect(contentsOf(slot, length)).toEqual(markers(sequence.tokens, sequence.promptLength, length));
      const after = cache.stats();
      expect(after.reuses - before.reuses).toBe(length > 0 ? 1 : 0);
      expect(after.reusedTokens - before.reusedTokens).toBe(length);
      counts.reuses = after.reuses;
      // What was admitted has room, beside the next token of everybody else.
      const lengths = [...live.keys()].map(
        (one) => [one, Math.min(layout.capacity, kv.length(one) + 1)] as [number, number],
      );
      if (!direct && next(2) === 0) {
        const went = advance(new Map([...lengths, [slot, sequence.tokens.length]]));
        if (fake.calls.failures === failuresBefore) expect(went).toBe(true);
      }
    },
    function release() {
      const slot = anySlot();
      kv.release(slot);
      const one = live.get(slot);
      if (one) ended[next(6)] = one.sequence;
      live.delete(slot);
      kv.release(slot);
    },
    function step() {
      const lengths = new Map<number, number>();
      for (const slot of live.keys())
        if (next(3) > 0) lengths.set(slot, kv.length(slot) + 1 + (next(4) === 0 ? next(30) : 0));
      advance(lengths);
    },
    function stray() {
      advance(
        new Map(
          [[anySlot(), 1 + next(layout.capacity + 5)]].filter(([slot]) => !live.has(slot!)) as [number, number][],
        ),
      );
    },
    function truncate() {
      const slot = anySlot();
      const length = next(layout.capacity);
      kv.truncate(slot, length);
      const one = live.get(slot);
      if (one && kv.length(slot) === length) one.sequence.tokens.length = Math.max(length, one.sequence.promptLength);
    },
    function idle() {
      const calls = { ...fake.calls };
      kv.idle?.();
      const commits = fake.calls.commits - calls.commits;
      const releases = fake.calls.releases - calls.releases;
      expect(commits).toBeLessThanOrEqual(1);
      if (fake.calls.failures === calls.failures) expect(commits + releases).toBeLessThanOrEqual(1);
      if (commits === 0) expect(releases).toBeLessThanOrEqual(1);
    },
    function trim() {
      const bytes = next(2) === 0 ? 0 : next(3000);
      const { committedBytes } = cache.stats();
      const failuresBefore = fake.calls.failures;
      const given = cache.trim(bytes);
      const after = cache.stats();
      expect(committedBytes - after.committedBytes).toBe(given);
      if (kind !== 'madvise') expect(given).toBe(0);
      else if (fake.calls.failures === failuresBefore) {
        const needed = [...live.keys()].reduce(
          (sum, slot) => sum + groups.bytesOf(groups.groupsFor(kv.length(slot))),
          0,
        );
        // Memory that a refused step had asked for counts as needed.
        if (bytes === 0) expect(after.warmBytes).toBe(0);
        expect(after.committedBytes).toBeGreaterThanOrEqual(needed);
      }
    },
    function recycle() {
      if (kind !== 'recycle' || live.size > 0) return;
      cache.trim(0);
      expect(kv.recycleDue?.()).toBe(cache.stats().committedBytes > 0);
      kv.recycled!();
      fake.recycle();
      expect(cache.stats().committedBytes).toBe(0);
      expect(kv.recycleDue?.()).toBe(false);
    },
    function save() {
      if (!memory) return;
      const { tokens } = live.size > 0 && next(2) === 0 ? live.get(pick())!.sequence : newSequence();
      const state = cache.read(tokens);
      if (!state) return;
      expect(state.tokens).toEqual(tokens.slice(0, state.tokens.length));
      const values = new Int32Array(state.bytes.buffer, 0, state.tokens.length);
      expect([...values]).toEqual(markers(state.tokens, state.promptLength, state.tokens.length));
      saved[next(4)] = { ...state, tokens: [...state.tokens] };
    },
    function restore() {
      const state = saved[next(4)];
      if (!state) return;
      const failuresBefore = fake.calls.failures;
      try {
        cache.write(state);
      } catch (error) {
        const code = failNow ? expect.any(String) : expect.stringMatching(/^LLMOPT_(KV_BUDGET|SLOTS_EXHAUSTED)$/);
        expect(error).toMatchObject({ code });
        return;
      }
      if (fake.calls.failures === failuresBefore) expect(cache.read(state.tokens)?.tokens).toEqual(state.tokens);
    },
  ];
  const weights = [4, 3, 12, 1, 2, 6, 1, 1, 1, 1];
  const deck = acts.flatMap((act, at) => Array<() => void>(weights[at]!).fill(act));

  for (let operation = 0; operation < operations; operation++) {
    failNow = failures && next(3) === 0;
    deck[next(deck.length)]!();
    check();
  }
  counts.failures = fake.calls.failures;
  return counts;

  function check(): void {
    const stats = cache.stats();
    expect(stats.liveBytes).toBeLessThanOrEqual(stats.committedBytes);
    expect(stats.committedBytes).toBeLessThanOrEqual(stats.budgetBytes);
    expect(stats.warmBytes).toBeLessThanOrEqual(stats.committedBytes);
    expect(kv.bytes()).toEqual({
      reserved: stats.reservedBytes,
      committed: stats.committedBytes,
      live: stats.liveBytes,
    });
    if (memory) {
      const byMemory = [...fake.committed].reduce((sum, tokens) => sum + groups.bytesOf(groups.groupsFor(tokens)), 0);
      expect(stats.committedBytes).toBe(byMemory);
    }
    if (kind === 'madvise' && stats.failedReleases === 0) {
      expect(stats.warmBytes).toBeLessThanOrEqual(
        settings.reclaim === 'eager' ? 0 : (settings.warmBytes ?? Math.floor(stats.budgetBytes / 4)),
      );
    }
    for (let slot = 0; slot < layout.slots; slot++) {
      expect(kv.isAcquired(slot)).toBe(live.has(slot));
      const one = live.get(slot);
      if (!one) expect(kv.length(slot)).toBe(0);
      else {
        if (memory) expect(fake.committed[slot]).toBeGreaterThanOrEqual(kv.length(slot));
        if (!one.direct) {
          const { tokens, promptLength } = one.sequence;
          expect(contentsOf(slot, kv.length(slot))).toEqual(markers(tokens, promptLength, kv.length(slot)));
        }
      }
    }
  }
}
