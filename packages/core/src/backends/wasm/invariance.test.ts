import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compile, forwardAlone, forwardPieces, type Piece, randomGraph } from '../../../test/backends.ts';
import { mapOps } from '../../graph/graph.ts';
import { withChannels } from '../../testing/channelsOp.ts';
import { wasm } from './index.ts';

// The invariance law: a row's logits are bit-identical whatever else is in the batch, for any chunking, for any number of
// threads, with vectors of any width.

const scenario = fc.record({
  seed: fc.integer({ min: 1, max: 1e6 }),
  threads: fc.integer({ min: 1, max: 4 }),
  vectorBits: fc.constantFrom(128 as const, 256 as const),
  kv: fc.constantFrom('float32' as const, 'int16' as const),
  lengths: fc.array(fc.integer({ min: 1, max: 24 }), { minLength: 1, maxLength: 3 }),
  // Which sequence goes on, and by how many tokens; a batch ends at each 0.
  moves: fc.array(fc.record({ sequence: fc.nat(2), take: fc.nat(9) }), { minLength: 1, maxLength: 40 }),
  untied: fc.boolean(),
  architecture: fc.constantFrom('llama' as const, 'phi2' as const, 'qwen2' as const),
  channels: fc.boolean(),
  /** Whether the linears of the first layer are. */
  precise: fc.boolean(),
});

it.each(['float32', 'int8'] as const)(
  '%s: logits depend on the sequence alone',
  { timeout: 180_000 },
  async (precision) => {
    await fc.assert(
      fc.asyncProperty(
        scenario,
        async ({ seed, threads, vectorBits, kv, lengths, moves, channels, precise, ...model }) => {
          // 72 inputs and 600 in the middle: no multiples of the tiles of 32.
          const dense = randomGraph({ seed, ...model, width: 72, headDim: 20, ffn: 600, context: 64 });
          const graph = mapOps(channels ? withChannels(dense) : dense, (op) =>
            op.kind === 'linear' && op.layer === 0 ? { ...op, precise } : op,
          );
          const sequences = lengths.map((length, s) =>
            Array.from({ length }, (_, i) => (i * 13 + s * 31 + seed) % 101),
          );
          const alone = await compile(wasm({ precision, kv, threads: 1, vectorBits: 128 }), graph);
          const together = await compile(wasm({ precision, kv, threads, vectorBits }), graph);
          try {
            const expected: Float32Array[][] = [];
            for (const tokens of sequences) expected.push(await forwardAlone(alone, tokens, 1));
            const slots = sequences.map(() => together.kv.acquire()!);
            const fed = sequences.map(() => 0);
            const finish = sequences.map((_, sequence) => ({ sequence, take: 30 }));
            let batch: (Piece & { sequence: number })[] = [];
            const flush = async () => {
              const rows = batch.length > 0 ? await forwardPieces(together, batch) : [];
              for (const { sequence, tokens } of batch) {
                for (const _ of tokens) {
                  const row = rows.shift()!;
                  const at =
                    fed[sequence]! -
                    batch.filter((p) => p.sequence === sequence).reduce((n, p) => n + p.tokens.length, 0);
                  expect(
                    Buffer.from(row.buffer).equals(Buffer.from(expected[sequence]![at + seen(sequence)]!.buffer)),
                  ).toBe(true);
                }
              }
              counted.clear();
              batch = [];
            };
            const counted = new Map<number, number>();
            const seen = (sequence: number) => {
              const n = counted.get(sequence) ?? 0;
              counted.set(sequence, n + 1);
              return n;
            };
            for (const { sequence, take } of [...moves, ...finish]) {
              const tokens = sequences[sequence]?.slice(fed[sequence]!, fed[sequence]! + take) ?? [];
              if (
                take === 0 ||
                batch.some((piece) => piece.sequence === sequence) ||
                rowsOf(batch) + tokens.length > 32
              )
                await flush();
              if (tokens.length === 0) continue;
              batch.push({ sequence, slot: slots[sequence]!, tokens });
              fed[sequence]! += tokens.length;
            }
            await flush();
          } finally {
            await alone.dispose();
            await together.dispose();
          }
        },
      ),
      { numRuns: 40 },
    );
  },
);

// Attention takes positions in chunks of 32, and in longer ones from position 256 on.
it.each(['float32', 'int16'] as const)(
  'a long sequence has the same bits in chunks of any size (keys and values in %s)',
  { timeout: 120_000 },
  async (kv) => {
    const graph = randomGraph({ context: 640, layers: 1 });
    const tokens = Array.from({ length: 600 }, (_, i) => (i * i + 3) % 101);
    const runs: Buffer[] = [];
    for (const { threads, chunk } of [
      { threads: 1, chunk: 64 },
      { threads: 2, chunk: 1 },
      { threads: 3, chunk: 7 },
      { threads: 2, chunk: 23 },
    ]) {
      const executable = await compile(wasm({ precision: 'float32', kv, threads }), graph, { maxRows: 64 });
      const rows = await forwardAlone(executable, tokens, chunk);
      await executable.dispose();
      runs.push(Buffer.concat(rows.map((row) => new Uint8Array(row.buffer))));
    }
    for (const run of runs) expect(run.equals(runs[0]!)).toBe(true);
  },
);

const rowsOf = (batch: readonly Piece[]) => batch.reduce((rows, { tokens }) => rows + tokens.length, 0);
