import { type Graph, type KvCache, type KvMemory, type Sequence, wasm } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { compile, forwardPieces, randomGraph } from '../../core/test/backends.ts';
import { larosa } from '../../larosa/src/larosa.ts';
import { type VattentionOptions, vattention } from '../src/index.ts';
import { dice } from './dice.ts';

const CONTEXT = 200;
const graph = randomGraph({ context: CONTEXT, width: 72, headDim: 20, kvHeads: 2, ffn: 96 });
// A run of 16 tokens takes 2,560 bytes of a range as float32, so that runs and pages do not coincide.
const groupBytes = 4096;

const bits = (rows: readonly Float32Array[]) => rows.map((row) => Buffer.from(row.buffer).toString('base64'));
const tokensOf = (length: number, seed = 0) => Array.from({ length }, (_, i) => (i * 29 + seed * 17 + 3) % 101);
const sequenceOf = (tokens: readonly number[], promptLength = tokens.length): Sequence => ({
  id: 0,
  tokens,
  promptLength,
});

interface Setup {
  options?: VattentionOptions;
  kv?: 'float32' | 'int16';
  slots?: number;
  graph?: Graph;
  promptsDiffer?: boolean;
}

/** An executable with vattention, whose slots are NaN wherever no sequence has written. */
async function setUp({ options, kv = 'float32', slots = 3, graph: model = graph, promptsDiffer = false }: Setup = {}) {
  const plugin = vattention({ groupBytes, ...options });
  let memory: KvMemory | undefined;
  const executable = await wasm({ threads: 2, kv }).compile(model, {
    ...{ slots, contextLength: CONTEXT, maxRows: 64, modelKey: 'test', cacheDir: undefined },
    kvCache(layout, given) {
      memory = given!;
      return plugin.kvCache!(layout, { memory, modelKey: 'test', promptsDiffer });
    },
  });
  await plugin.ready!();
  return { executable, cache: executable.kv, plugin, memory: memory!, poison: () => poison(executable.kv, memory!) };
}

/** Makes all runs of tokens NaN that are free of a sequence: in float32, and in the scales of int16, all bits set are. */
function poison(kv: KvCache, memory: KvMemory): void {
  const { slots, capacity } = kv.layout;
  for (let slot = 0; slot < slots; slot++) {
    if (kv.isAcquired(slot) && kv.length(slot) > 0) continue;
    memory.write(slot, capacity, new Uint8Array(memory.ranges * memory.rangeBytes(capacity)).fill(0xff));
  }
}

type Ready = Awaited<ReturnType<typeof setUp>>;

/** Logits of a sequence's rows from where its slot begins, fed in chunks. */
async function feed(
  { executable }: Ready,
  slot: number,
  sequence: Sequence,
  chunk: number,
  to = sequence.tokens.length,
) {
  const rows: Float32Array[] = [];
  for (let at = executable.kv.length(slot); at < to; at += chunk) {
    const tokens = sequence.tokens.slice(at, Math.min(at + chunk, to));
    rows.push(...(await forwardPieces(executable, [{ slot, tokens, promptLength: sequence.promptLength }])));
  }
  return bits(rows);
}

/** Logits of all rows with the contiguous cache. */
async function cold(sequences: readonly Sequence[], kv: 'float32' | 'int16', model = graph) {
  const executable = await compile(wasm({ threads: 2, kv }), model, { contextLength: CONTEXT, maxRows: 64 });
  const out: string[][] = [];
  for (const sequence of sequences) {
    const slot = executable.kv.acquire()!;
    out.push(await feed({ executable } as Ready, slot, sequence, 64));
    executable.kv.release(slot);
  }
  await executable.dispose();
  return out;
}

describe.each(['float32', 'int16'] as const)('logits are those of the contiguous cache, %s', (kv) => {
  it.each([
    ['deferred', {}],
    ['eager', { reclaim: 'eager' }],
    ['without prefixes', { prefixReuse: false }],
    ['nothing ahead', { eagerTokens: 0, groupBytes: 65_536 }],
  ] satisfies [string, VattentionOptions][])(
    'slots used again, at the ends of groups, in a full context: %s',
    async (_, options) => {
      // 4,096 bytes hold 25 tokens as float32; runs of 16 and pages end elsewhere.
      const lengths = [CONTEXT, 1, 15, 16, 17, 24, 25, 26, 48, 49, 64, 65, CONTEXT - 1];
      const sequences = lengths.map((length, i) => sequenceOf(tokensOf(length, i)));
      const expected = await cold(sequences, kv);
      const ready = await setUp({ options, kv, slots: 1 });
      ready.poison();
      for (const [i, sequence] of sequences.entries()) {
        const slot = ready.cache.acquire(sequence)!;
        expect(ready.cache.length(slot)).toBe(0);
        expect(await feed(ready, slot, sequence, [64, 7, 1][i % 3]!)).toEqual(expected[i]);
        ready.cache.idle?.();
        ready.cache.release(slot);
      }
      await ready.executable.dispose();
    },
  );

  it('a prefix that is handed over, and one that is copied, equal a cold run', async () => {
    const shared = tokensOf(90);
    const turns = [
      sequenceOf(shared),
      sequenceOf([...shared, ...tokensOf(30, 5)]),
      sequenceOf([...shared.slice(0, 41), ...tokensOf(20, 6)]),
      sequenceOf(shared),
    ];
    const expected = await cold(turns, kv);
    const ready = await setUp({ kv, options: { warmBytes: 10_000_000 } });
    ready.poison();
    const { cache } = ready;
    const first = cache.acquire(turns[0])!;
    expect(await feed(ready, first, turns[0]!, 64)).toEqual(expected[0]);
    cache.release(first);
    // Handed over as it is.
    const second = cache.acquire(turns[1])!;
    expect([second, cache.length(second)]).toEqual([first, 90]);
    // Copied from the one that runs, while it is only as far as this.
    const third = cache.acquire(turns[2])!;
    expect([third === second, cache.length(third)]).toEqual([false, 41]);
    expect(await feed(ready, second, turns[1]!, 9)).toEqual(expected[1]!.slice(90));
    expect(await feed(ready, third, turns[2]!, 64)).toEqual(expected[2]!.slice(41));
    cache.release(second);
    cache.release(third);
    // All but the last token, whose logits are wanted; what follows in the slot is forgotten.
    const fourth = cache.acquire(turns[3])!;
    expect([fourth, cache.length(fourth)]).toEqual([second, 89]);
    expect(await feed(ready, fourth, turns[3]!, 64)).toEqual(expected[3]!.slice(89));
    expect(ready.plugin.stats()).toMatchObject({ reuses: 3, reusedTokens: 220, copies: 1 });
    await ready.executable.dispose();
  });

  it('a sequence that lost its slot goes on as if nothing had happened', async () => {
    const sequence = sequenceOf(tokensOf(80), 40);
    const [expected] = await cold([sequence], kv);
    for (const options of [{}, { reclaim: 'eager' as const }]) {
      const ready = await setUp({ kv, options });
      ready.poison();
      let slot = ready.cache.acquire(sequence)!;
      expect(await feed(ready, slot, sequence, 10, 60)).toEqual(expected!.slice(0, 60));
      ready.cache.release(slot);
      ready.plugin.trim(options.reclaim ? 0 : 16_384);
      slot = ready.cache.acquire(sequence)!;
      const from = ready.cache.length(slot);
      expect(from).toBeLessThan(60);
      expect(await feed(ready, slot, sequence, 3)).toEqual(expected!.slice(from));
      await ready.executable.dispose();
    }
  });

  it('sequences side by side, with memory given back and committed ahead in between', async () => {
    const next = dice(5);
    const sequences = Array.from({ length: 24 }, (_, i) =>
      sequenceOf([...tokensOf(next(100), i % 3), ...tokensOf(1 + next(90), i)]),
    );
    const expected = await cold(sequences, kv);
    const ready = await setUp({ kv, options: { warmBytes: 200_000 } });
    const { cache, executable } = ready;
    const waiting = sequences.map((sequence, i) => ({ sequence, expected: expected[i]!, slot: -1 }));
    const running: typeof waiting = [];
    for (;;) {
      while (waiting.length > 0) {
        const slot = cache.acquire(waiting[0]!.sequence);
        if (slot === undefined) break;
        running.push({ ...waiting.shift()!, slot });
      }
      if (running.length === 0) break;
      const pieces = running.map(({ slot, sequence: { tokens, promptLength } }) => {
        const from = cache.length(slot);
        return { slot, promptLength, from, tokens: tokens.slice(from, from + 1 + next(18)) };
      });
      const computed = forwardPieces(executable, pieces);
      if (next(3) === 0) ready.plugin.trim(next(100_000));
      cache.idle?.();
      const rows = bits(await computed);
      for (const [i, { from, tokens }] of pieces.entries()) {
        expect(rows.splice(0, tokens.length)).toEqual(running[i]!.expected.slice(from, from + tokens.length));
      }
      for (const done of running.filter(({ slot, sequence }) => cache.length(slot) === sequence.tokens.length)) {
        cache.release(done.slot);
        running.splice(running.indexOf(done), 1);
      }
    }
    expect(ready.plugin.stats().reuses).toBeGreaterThan(3);
    await executable.dispose();
  });
});

it('takes of a sequence only what was computed in the same way, where prompts are computed in another', async () => {
  const model = await larosa({ sparsity: 0.5 }).graph!(graph);
  const tokens = tokensOf(120);
  const turns = [sequenceOf(tokens.slice(0, 80), 40), sequenceOf(tokens, 100), sequenceOf(tokens, 100)];
  const expected = await cold(turns, 'float32', model);
  expect(expected[0]!.slice(0, 40)).toEqual(expected[1]!.slice(0, 40));
  expect(expected[0]![40]).not.toBe(expected[1]![40]);
  const ready = await setUp({ graph: model, promptsDiffer: true, options: { warmBytes: 10_000_000 } });
  for (const [i, reused] of [0, 40, 119].entries()) {
    const slot = ready.cache.acquire(turns[i])!;
    expect(ready.cache.length(slot)).toBe(reused);
    expect(await feed(ready, slot, turns[i]!, 16)).toEqual(expected[i]!.slice(reused));
    ready.cache.release(slot);
  }
  await ready.executable.dispose();
});

const managed = await setUp().then(async ({ memory, executable }) => {
  const { giveBack } = memory;
  await executable.dispose();
  return giveBack === 'madvise';
});
const title = (name: string) => (managed ? name : `${name} (skipped: this Node.js cannot give pages back)`);

it.skipIf(!managed)(title('is resident behind its tokens only, as the system says'), async () => {
  const ready = await setUp({ options: { eagerTokens: 0 } });
  const { cache, plugin, memory } = ready;
  const pages = (tokens: number) =>
    Math.ceil(memory.rangeBytes(tokens) / memory.pageBytes) * memory.pageBytes * memory.ranges;
  const sequences = [150, 60].map((length, i) => sequenceOf(tokensOf(length, i)));
  const slots = sequences.map((sequence) => cache.acquire(sequence)!);
  for (const [i, sequence] of sequences.entries()) await feed(ready, slots[i]!, sequence, 30);
  expect(plugin.stats().residentBytes).toBe(plugin.stats().committedBytes);
  expect(plugin.stats().residentBytes).toBe(pages(150) + pages(60));
  cache.release(slots[0]!);
  expect(plugin.stats().warmBytes).toBeLessThanOrEqual(plugin.stats().reservedBytes / 4);
  expect(plugin.trim()).toBeGreaterThan(0);
  expect(plugin.stats()).toMatchObject({ residentBytes: pages(60), warmBytes: 0, committedBytes: pages(60) });
  cache.release(slots[1]!);
  plugin.trim();
  expect(plugin.stats()).toMatchObject({ residentBytes: 0, committedBytes: 0, liveBytes: 0 });
  expect(cache.policy).toContain('given back with madvise through node:ffi');
  await ready.executable.dispose();
});
