import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { forwardPieces, randomGraph } from '../../../test/backends.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import type { KvMemory } from '../../kv/kvMemory.ts';
import { createArena } from './arena.ts';
import { compileWasm, type WasmSettings } from './executable.ts';
import { systemPages } from './systemPages.ts';

const noPages = systemPages() ? undefined : 'this Node.js cannot give pages back';
const CONTEXT = 60;
const SLOTS = 3;

/** `poison`: all that belongs to the slots is NaN before anything is computed. */
async function compileKv(settings: Partial<WasmSettings>, { architecture = 'llama' as const, poison = false } = {}) {
  const arena = createArena();
  let kvMemory: KvMemory | undefined;
  const executable = await compileWasm(
    randomGraph({ architecture, width: 72, headDim: 20, kvHeads: 2, ffn: 96 }),
    { ...{ threads: 2, precision: 'int8', kv: 'float32', profile: false, vectorBits: 128 }, ...settings },
    {
      ...{ slots: SLOTS, contextLength: CONTEXT, maxRows: 48, modelKey: 'test', cacheDir: undefined },
      kvCache(layout, memory) {
        kvMemory = memory;
        if (poison) {
          const rangeBytes = Math.ceil(memory!.rangeBytes(CONTEXT) / memory!.pageBytes) * memory!.pageBytes;
          const bytes = SLOTS * memory!.ranges * rangeBytes;
          // In float32 and in the scales of int16, all bits set are NaN.
          new Uint8Array(arena.memory.buffer, arena.position() - bytes, bytes).fill(0xff);
        }
        return contiguousKvCache(layout);
      },
    },
    arena,
  );
  return { executable, kvMemory: kvMemory! };
}

const tokensOf = (length: number, seed = 1) => Array.from({ length }, (_, i) => (i * 29 + seed * 17) % 101);
const bitsOf = (rows: readonly Float32Array[]) => rows.map((row) => Buffer.from(row.buffer).toString('base64'));

/** Prefill in large and small chunks, single tokens, up to the last position, and both in a batch. */
async function logitsOf({ executable }: Awaited<ReturnType<typeof compileKv>>) {
  const { kv } = executable;
  const [first, second] = [kv.acquire()!, kv.acquire()!];
  const rows: Float32Array[] = [];
  const feed = async (...pieces: [slot: number, length: number][]) => {
    const batch = pieces.map(([slot, length]) => ({ slot, tokens: tokensOf(length, kv.length(slot) + slot) }));
    rows.push(...(await forwardPieces(executable, batch)));
  };
  await feed([first, 33]);
  await feed([first, 1], [second, 15]);
  for (let i = 0; i < 4; i++) await feed([second, 1]);
  await feed([first, 3], [second, 1]);
  await feed([second, 17], [first, 16]);
  while (kv.length(first) < CONTEXT) await feed([first, 1]);
  kv.release(first);
  kv.release(second);
  return bitsOf(rows);
}

describe.each([
  { kv: 'float32', vectorBits: 128 },
  { kv: 'float32', vectorBits: 256 },
  { kv: 'int16', vectorBits: 128 },
  { kv: 'int16', vectorBits: 256 },
] as const)('keys and values $kv, vectors of $vectorBits bits', (settings) => {
  it.each(['llama', 'phi2'] as const)(
    '%s: logits do not depend on what lies behind a sequence',
    async (architecture) => {
      const options = { architecture } as { architecture: 'llama' };
      const [clean, poisoned] = [
        await compileKv(settings, options),
        await compileKv(settings, { ...options, poison: true }),
      ];
      try {
        const expected = await logitsOf(clean);
        for (const slot of [0, 1, 2])
          expect(poisoned.kvMemory.read(slot, 48).every((byte) => byte === 0xff)).toBe(true);
        expect(await logitsOf(poisoned)).toEqual(expected);
        // Slots that held longer sequences.
        expect(await logitsOf(poisoned)).toEqual(expected);
      } finally {
        await clean.executable.dispose();
        await poisoned.executable.dispose();
      }
    },
  );

  it('a sequence goes on with the same bits after memory was given back, taken ahead, copied, and read and written', async () => {
    const { executable, kvMemory } = await compileKv(settings, { poison: true });
    const { kv } = executable;
    try {
      for (const length of [1, 15, 16, 17, 31, 40]) {
        const prompt = tokensOf(length);
        const next = tokensOf(12, 2);
        const slot = kv.acquire()!;
        await forwardPieces(executable, [{ slot, tokens: prompt }]);
        const expected: Float32Array[] = [];
        const goOn = async (slot: number) => {
          const rows: Float32Array[] = [];
          for (const token of next) rows.push(...(await forwardPieces(executable, [{ slot, tokens: [token] }])));
          return rows;
        };
        expected.push(...(await goOn(slot)));

        kv.truncate(slot, length);
        kvMemory.release(slot, length);
        expect(bitsOf(await goOn(slot))).toEqual(bitsOf(expected));

        kv.truncate(slot, length);
        kvMemory.release(slot, length);
        kvMemory.commit(slot, length, CONTEXT);
        expect(bitsOf(await goOn(slot))).toEqual(bitsOf(expected));

        const copy = kv.acquire()!;
        kvMemory.copy(slot, copy, length);
        kv.commit(copy, length);
        expect(bitsOf(await goOn(copy))).toEqual(bitsOf(expected));

        const saved = kvMemory.read(slot, length);
        kvMemory.release(copy, 0);
        kvMemory.write(copy, length, saved);
        kv.truncate(copy, length);
        expect(bitsOf(await goOn(copy))).toEqual(bitsOf(expected));
        kv.release(slot);
        kv.release(copy);
      }
    } finally {
      await executable.dispose();
    }
  });

  it.skipIf(noPages)(
    noPages ?? 'a sequence takes the memory of its own tokens, and a batch is not disturbed when pages come and go',
    async () => {
      const { executable, kvMemory } = await compileKv(settings);
      const { kv } = executable;
      try {
        const [slot, other] = [kv.acquire()!, kv.acquire()!];
        const pages = (tokens: number) => Math.ceil(kvMemory.rangeBytes(tokens) / kvMemory.pageBytes) * kvMemory.ranges;
        for (const piece of [30, 1, 1, 1, 5]) {
          await forwardPieces(executable, [{ slot, tokens: tokensOf(piece) }]);
          expect(kvMemory.residentBytes()! / kvMemory.pageBytes).toBe(pages(kv.length(slot)));
        }
        kv.truncate(slot, 0);
        const expected = await forwardPieces(executable, [{ slot, tokens: tokensOf(48) }]);
        for (let i = 0; i < 5; i++) {
          kv.truncate(slot, 0);
          kvMemory.release(slot, 0);
          const running = forwardPieces(executable, [{ slot, tokens: tokensOf(48) }]);
          // Ahead of the batch, under it, and beside it.
          kvMemory.commit(slot, 0, CONTEXT);
          kvMemory.commit(other, 0, CONTEXT);
          kvMemory.release(other, 16);
          expect(bitsOf(await running)).toEqual(bitsOf(expected));
        }
      } finally {
        await executable.dispose();
      }
    },
  );
});

it('asks for node:ffi only when a cache manages memory', () => {
  const run = (use: string) =>
    execFileSync(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { createArena } from '${new URL('arena.ts', import.meta.url)}';
         import { createKvMemory } from '${new URL('kvMemory.ts', import.meta.url)}';
         const layout = { layers: 1, kvHeads: 1, headDim: 4, slots: 1, capacity: 16, elementType: 'float32' };
         const { kvMemory } = createKvMemory(createArena().memory, layout, [0]);
         process.on('warning', ({ message }) => console.log(message));
         ${use}`,
      ],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
  expect(run('kvMemory.commit(0, 0, 16); kvMemory.read(0, 16)')).toBe('');
  if (!noPages) expect(run('kvMemory.giveBack; kvMemory.giveBack')).toMatch(/^FFI is an experimental feature[^\n]*\n$/);
});
