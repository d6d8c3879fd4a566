import { describe, expect, it } from 'vitest';
import { compile, forwardAlone, forwardPieces, randomGraph } from '../../../test/backends.ts';
import { relativeError } from '../../../test/compare.ts';
import { reference } from '../reference/index.ts';
import { onnx } from './index.ts';

describe('sequences', () => {
  const graph = randomGraph();
  const tokens = Array.from({ length: 40 }, (_, i) => (i * i + 3) % 101);
  const tolerance = 2e-5;

  it.each([1, 7, 32])('%i tokens at a time give the logits of the reference', async (chunk) => {
    const expected = await forwardAlone(await compile(reference(), graph), tokens, 32);
    const executable = await compile(onnx({ threads: 1 }), graph);
    const actual = await forwardAlone(executable, tokens, chunk);
    await executable.dispose();
    for (const [i, row] of expected.entries()) expect(relativeError(actual[i]!, row)).toBeLessThan(tolerance);
  });

  it('several in one batch, in any order of rows, get what each gets alone', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const alone = await forwardAlone(executable, tokens, 5);
    const other = tokens.map((token) => (token + 50) % 101);
    const otherAlone = await forwardAlone(executable, other, 5);
    const [a, b] = [executable.kv.acquire()!, executable.kv.acquire()!];
    for (let at = 0; at < tokens.length; at += 5) {
      const rows = [0, 1, 2, 3, 4].flatMap((i) => [
        { slot: b, token: other[at + i]!, position: at + i },
        { slot: a, token: tokens[at + i]!, position: at + i },
      ]);
      const { logits } = await executable.forward({
        tokens: rows.map(({ token }) => token),
        slots: rows.map(({ slot }) => slot),
        positions: rows.map(({ position }) => position),
        // The last of each, and one in the middle; the order is the caller's.
        logits: [9, 8, 1],
      });
      // Not bit for bit: how many rows are multiplied at once changes the order of sums.
      for (const [n, row] of [alone[at + 4]!, otherAlone[at + 4]!, alone[at]!].entries()) {
        expect(relativeError(logits.slice(n * 101, (n + 1) * 101), row)).toBeLessThan(tolerance);
      }
    }
    await executable.dispose();
  });

  it('go on from where the cache was cut, and begin anew in a slot that came back', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph, { slots: 1 });
    const slot = executable.kv.acquire()!;
    const first = await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 12) }]);
    executable.kv.truncate(slot, 8);
    const again = await forwardPieces(executable, [{ slot, tokens: tokens.slice(8, 12) }]);
    for (const [i, row] of again.entries()) expect(relativeError(row, first[8 + i]!)).toBeLessThan(tolerance);
    executable.kv.release(slot);
    expect(executable.kv.acquire()).toBe(slot);
    const anew = await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 12) }]);
    expect(anew).toEqual(first);
    await executable.dispose();
  });

  it('answer with no logits when none are asked for', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const slot = executable.kv.acquire()!;
    const { logits } = await executable.forward({ tokens: [1, 2], slots: [slot, slot], positions: [0, 1], logits: [] });
    expect(logits.length).toBe(0);
    expect(executable.kv.length(slot)).toBe(2);
    await executable.dispose();
  });

  it('may be refused, and then nothing has moved', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const slot = executable.kv.acquire()!;
    const batch = { tokens: [1], slots: [slot], positions: [0], logits: [0] };
    const refused = (values: Partial<Parameters<typeof executable.forward>[0]>, code: string) =>
      expect(executable.forward({ ...batch, ...values })).rejects.toMatchObject({ code });
    await refused({ tokens: [101] }, 'LLMOPT_TOKEN_INVALID');
    await refused({ positions: [1] }, 'LLMOPT_BATCH_INVALID');
    await refused({ values: [{ name: '0.hidden', rows: [0] }] }, 'LLMOPT_BATCH_INVALID');
    const first = executable.forward(batch);
    await refused({ positions: [1] }, 'LLMOPT_BUSY');
    await first;
    expect(executable.kv.length(slot)).toBe(1);
    await executable.dispose();
    await executable.dispose();
    await refused({ positions: [1] }, 'LLMOPT_DISPOSED');
  });

  it('count what keys and values take', async () => {
    const executable = await compile(onnx({ threads: 1 }), graph);
    const slot = executable.kv.acquire()!;
    await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 10) }]);
    const { layers, kvHeads, headDim } = graph.config;
    const bytes = 10 * layers * 2 * kvHeads * headDim * 4;
    expect(executable.memory().kv).toEqual({ reservedBytes: bytes, committedBytes: bytes, liveBytes: bytes });
    await executable.dispose();
  });
});
