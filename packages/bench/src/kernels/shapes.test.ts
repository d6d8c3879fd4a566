import { describe, expect, it } from 'vitest';
import { randomGraph, shapes } from './shapes.ts';

const tiny = { width: 32, heads: 2, kvHeads: 1, headDim: 16, ffn: 64, layers: 3, vocabulary: 40 };

describe('randomGraph', () => {
  it.each([
    ['135m', 134_515_008],
    ['1b', 1_034_512_384],
    // As transformers counts microsoft/phi-2.
    ['phi-2', 2_779_683_840],
  ] as const)('has the size of a %s model', (name, parameters) => {
    const { params, config } = randomGraph(shapes[name]);
    const sizes = Array.from(params.values(), ({ shape }) => shape.reduce((product, size) => product * size, 1));
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(parameters);
    expect(config).toMatchObject({ headDim: shapes[name].headDim, layers: shapes[name].layers });
  });

  it('has the same weights under the same key in all layers, and others elsewhere', async () => {
    const { params } = randomGraph(tiny);
    const first = params.get('blk.0.attn_q.weight')!;
    const last = params.get('blk.2.attn_q.weight')!;
    expect(last.key).toBe(first.key);
    expect(await last.read()).toEqual(await first.read());
    expect(params.get('blk.0.attn_k.weight')!.key).not.toBe(first.key);
    expect((await params.get('blk.0.ffn_gate.weight')!.read()).slice(0, 8)).not.toEqual(
      (await params.get('blk.0.ffn_up.weight')!.read()).slice(0, 8),
    );
  });

  it('reads ranges of rows as parts of the whole', async () => {
    const embedding = randomGraph(tiny).params.get('token_embd.weight')!;
    const whole = await embedding.read();
    expect(await embedding.read([7, 21])).toEqual(whole.slice(7 * 32, 21 * 32));
  });

  it('has weights that keep the size of what they multiply', async () => {
    const { params } = randomGraph({ ...tiny, width: 256, ffn: 512 });
    const weights = await params.get('blk.1.ffn_gate.weight')!.read();
    const mean = weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
    const variance = weights.reduce((sum, weight) => sum + weight * weight, 0) / weights.length;
    // Over 131,072 numbers: 4 standard errors of the mean are 0.0007, of the variance in parts of itself 0.01.
    expect(Math.abs(mean)).toBeLessThan(0.0007);
    expect(variance * 256).toBeCloseTo(1, 1);
    const gains = await params.get('blk.1.attn_norm.weight')!.read();
    expect(gains.every((gain) => gain >= 0.5 && gain <= 1.5)).toBe(true);
    const phi = randomGraph({ ...tiny, architecture: 'phi2' }).params;
    const biases = await phi.get('blk.1.attn_norm.bias')!.read();
    expect(biases.every((bias) => bias >= -0.5 && bias <= 0.5)).toBe(true);
    expect(new Set(biases).size).toBe(biases.length);
  });
});
