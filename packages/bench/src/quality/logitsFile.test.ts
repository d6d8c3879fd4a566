import { mkdtemp, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fakePipeline } from '../../test/fakePipeline.ts';
import { mean } from '../statistics/summary.ts';
import type { Divergences } from './divergences.ts';
import { evaluateQuality } from './evaluate.ts';
import { compareLogits, writeLogits } from './logitsFile.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-logits-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const text = 'the quick brown fox jumps over the lazy dog. '.repeat(30);
/** Logits that depend on all that a row is. */
const wave = (step: number) => (token: number, position: number) =>
  Float32Array.from({ length: 128 }, (_, index) => 4 * Math.sin(step * (index + 1) * (token + position + 1)));

describe('logits in a file', () => {
  it('say the same as both models side by side', async () => {
    const file = join(folder, 'same.f32');
    const [a, b] = [wave(0.1), wave(0.1001)];
    const { comparison } = await evaluateQuality({
      baseline: fakePipeline({ logits: a }),
      optimized: fakePipeline({ logits: b }),
      text,
      maxTokens: 601,
    });
    const positions = comparison?.klDivergence.n as number;
    // Beyond the end of a window, so that another one begins.
    expect(positions).toBe(599);
    const pipeline = fakePipeline({ logits: a });
    const written = await writeLogits(pipeline, { text, positions, file });
    expect(written).toHaveLength(positions);
    expect((await stat(file)).size).toBe(positions * 128 * 4);
    const other = join(folder, 'own.f32');
    await writeLogits(fakePipeline({ logits: b }), { text, positions, file: other });
    const [toA, toItself] = await compareLogits(fakePipeline({ logits: b }), { text, positions, files: [file, other] });
    const { divergences, agreements, losses, expectedLosses } = toA as Divergences;
    expect(toItself).toMatchObject({ losses, expectedLosses: losses, agreements: Array(positions).fill(1) });
    expect(divergences).toHaveLength(positions);
    expect(mean(divergences)).toBe(comparison?.klDivergence.mean);
    expect(mean(agreements)).toBe(comparison?.topTokenAgreement.mean);
    expect(written).toEqual(expectedLosses.map((loss) => expect.closeTo(loss, 12)));
    const ratio = Math.exp(mean(losses) - mean(expectedLosses));
    expect(ratio).toBeCloseTo(comparison?.perplexityRatio.mean as number, 12);
    expect(pipeline.freeSlots()).toBe(1);
  });

  it('may be compared at fewer positions than were written', async () => {
    const file = join(folder, 'fewer.f32');
    await writeLogits(fakePipeline({ logits: wave(0.1) }), { text, positions: 100, file });
    const same = fakePipeline({ logits: wave(0.1) });
    const [result] = await compareLogits(same, { text, positions: 30, files: [file] });
    expect(result?.divergences).toEqual(Array(30).fill(0));
  });

  it('end where the text does', async () => {
    const file = join(folder, 'short.f32');
    expect(await writeLogits(fakePipeline(), { text: 'ten chars.', positions: 100, file })).toHaveLength(9);
  });

  it('are an error where they end too early', async () => {
    const file = join(folder, 'cut.f32');
    await writeLogits(fakePipeline(), { text, positions: 10, file });
    await truncate(file, 5 * 128 * 4 + 17);
    await expect(compareLogits(fakePipeline(), { text, positions: 10, files: [file] })).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      message: expect.stringContaining('after 5 positions'),
    });
  });
});
