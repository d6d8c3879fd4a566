import { expect, it } from 'vitest';
import { divergences, readDense } from './heldOut.ts';

/** A model of 5 tokens whose logits depend on the token and its position alone. */
function model(temperature: number) {
  let taken = 0;
  return {
    graph: { config: { vocabularySize: 5 } } as never,
    acquireSlot: () => taken++,
    releaseSlot: () => taken--,
    async forward({ tokens, positions, logits }: { tokens: number[]; positions: number[]; logits: number[] }) {
      const row = (i: number) =>
        Array.from({ length: 5 }, (_, token) => Math.sin(token * 3 + tokens[i]! + positions[i]!) / temperature);
      return { logits: Float32Array.from(logits.flatMap(row)), values: {} } as never;
    },
    taken: () => taken,
  };
}

const tokens = Array.from({ length: 150 }, (_, i) => i % 5);

it('is the divergence from the dense model, row by row', async () => {
  const [dense, other] = [model(1), model(0.5)];
  const heldOut = await readDense(dense as never, tokens, 100);
  expect(Math.max(...(await divergences(dense as never, heldOut)))).toBeLessThan(1e-6);
  const rows = await divergences(other as never, heldOut);
  expect(rows).toHaveLength(150);
  for (const row of [0, 63, 64, 99, 100, 149]) {
    const logits = (temperature: number) => {
      const position = row % 100;
      const all = Array.from({ length: 5 }, (_, token) => Math.sin(token * 3 + tokens[row]! + position) / temperature);
      const sum = all.reduce((total, x) => total + Math.exp(x), 0);
      return all.map((x) => x - Math.log(sum));
    };
    const [p, q] = [logits(1), logits(0.5)];
    const expected = p.reduce((sum, x, i) => sum + Math.exp(x) * (x - q[i]!), 0);
    expect(rows[row]).toBeCloseTo(expected, 6);
  }
  expect(dense.taken() + other.taken()).toBe(0);
});

it('gives its slot back when it is aborted', async () => {
  const dense = model(1);
  const signal = AbortSignal.abort();
  await expect(readDense(dense as never, tokens, 100, { signal })).rejects.toThrow();
  expect(dense.taken()).toBe(0);
});
