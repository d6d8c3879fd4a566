import { describe, expect, it } from 'vitest';
import { architectureFixtures, loadFixture } from '../../../test/architectureFixtures.ts';
import { compile, forwardAlone, forwardPieces, randomGraph } from '../../../test/backends.ts';
import { gpuModes } from '../../../test/gpu.ts';
import { gpu } from './index.ts';

const tokensOf = (length: number, seed = 1) => Array.from({ length }, (_, i) => (i * 17 + seed * 29) % 101);

for (const { mode, skip, title } of gpuModes) {
  describe(`gpu ${title}`, () => {
    // The same checkpoints as GGUF make the same graphs, which other tests hold.
    it.skipIf(skip).each(architectureFixtures)(
      'has the logits of transformers for %s, whole and token by token',
      async (name) => {
        const { graph, tokens, expected, close } = await loadFixture(name, 'safetensors');
        const executable = await compile(gpu({ mode }), graph);
        try {
          for (const chunk of [tokens.length, 1]) {
            const actual = await forwardAlone(executable, tokens, chunk);
            for (const [i, row] of expected.entries()) {
              row.forEach((logit, token) => {
                expect(Math.abs(logit - actual[i]![token]!), `token ${i}, ${chunk} at a time`).toBeLessThan(1e-3);
              });
            }
          }
        } finally {
          await executable.dispose();
          await close();
        }
      },
    );

    it.skipIf(skip)(
      'gives a row the same bits whatever else is in the batch, and for any cut of the prompt',
      async () => {
        const executable = await compile(gpu({ mode }), randomGraph({ layers: 2, context: 200 }));
        try {
          // Longer than the cache is at first, so that it grows on the way.
          const tokens = tokensOf(80);
          const expected = await forwardAlone(executable, tokens, 6);
          const slots = [executable.kv.acquire()!, executable.kv.acquire()!] as const;
          for (let at = 0; at < tokens.length; at += 17) {
            const piece = tokens.slice(at, at + 17);
            const rows = await forwardPieces(executable, [
              { slot: slots[1], tokens: tokensOf(3, at) },
              { slot: slots[0], tokens: piece },
            ]);
            piece.forEach((_, i) => {
              expect(Buffer.from(rows[i + 3]!.buffer).equals(Buffer.from(expected[at + i]!.buffer))).toBe(true);
            });
          }
        } finally {
          await executable.dispose();
        }
      },
    );

    it.skipIf(skip)('reads back the rows that are wanted, and computes no logits where none are', async () => {
      const executable = await compile(gpu({ mode }), randomGraph());
      const tokens = tokensOf(6);
      try {
        const all = await forwardAlone(executable, tokens);
        const slot = executable.kv.acquire()!;
        const batch = { tokens, slots: tokens.map(() => slot), positions: tokens.map((_, i) => i) };
        const { logits, values } = await executable.forward({
          ...batch,
          logits: [4],
          values: [
            { name: '0.attentionNorm', rows: [5, 0] },
            { name: 'final', rows: [0] },
          ],
        });
        expect(logits).toEqual(all[4]);
        expect(values['0.attentionNorm']).toHaveLength(2 * 48);
        expect(values.final).toHaveLength(48);
        executable.kv.truncate(slot, 0);
        expect((await executable.forward({ ...batch, logits: [] })).logits).toHaveLength(0);
      } finally {
        await executable.dispose();
      }
    });
  });
}
