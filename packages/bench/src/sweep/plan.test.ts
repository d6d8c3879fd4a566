import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildGraph, type Graph, LlmoptError, openCheckpoint } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { resolveSweepOptions } from './options.ts';
import { planPoints, sparsityForBytes } from './plan.ts';
import { layerBytes, weightBytes } from './weightBytes.ts';

let folder = '';
let graph: Graph;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-plan-'));
  const checkpoint = await openCheckpoint(await writeTinyModel(join(folder, 'tiny.gguf'), { width: 256, ffn: 512 }));
  graph = buildGraph(checkpoint);
  await checkpoint.close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

// Two layers of width 256 with 4 heads, 2 KV heads and 512 in between; the embedding is the head.
const layers = 2 * (256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 512);
const sparse = async (sparsity: number) => (await larosa({ sparsity }).graph?.(graph)) as Graph;

describe('weightBytes', () => {
  it('counts every linear, and the head', () => {
    const head = 256 * graph.config.vocabularySize;
    expect(layerBytes(graph, 'int8')).toBe(layers);
    expect(weightBytes(graph, 'int8')).toBe(layers + head);
    expect(weightBytes(graph, 'float32')).toBe(4 * (layers + head));
  });

  it('leaves out what a channel list leaves out', async () => {
    const skipped = weightBytes(graph, 'int8') - weightBytes(await sparse(0.5), 'int8');
    // A list is a whole number of channels.
    expect(skipped / layers).toBeCloseTo(0.5, 2);
    expect(weightBytes(await sparse(0), 'int8')).toBe(weightBytes(graph, 'int8'));
  });
});

describe('sparsityForBytes', () => {
  it('finds the sparsity of any falling line within half a per cent', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.double({ min: 0.1, max: 0.9, noNaN: true }),
        fc.double({ min: 0, max: 0.09, noNaN: true }),
        async (share, more) => {
          const bytesAt = async (sparsity: number) => 1000 * Math.round(1000 * (1 + more - sparsity));
          const target = 1e6 * (1 - share);
          const found = await bytesAt(await sparsityForBytes(target, bytesAt, 'm'));
          expect(Math.abs(found / target - 1)).toBeLessThan(0.005);
        },
      ),
    );
  });

  it('takes a sparsity that is refused for too high a one', async () => {
    const bytesAt = async (sparsity: number) => {
      if (sparsity > 0.6) throw new LlmoptError('LLMOPT_OPTION_INVALID', 'no channel is left');
      return 1 - sparsity;
    };
    expect(await sparsityForBytes(0.5, bytesAt, 'm')).toBeCloseTo(0.5, 2);
    await expect(sparsityForBytes(0.3, bytesAt, 'm')).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining("No sparsity of the method 'm' reads 0 bytes"),
    });
  });

  it('lets errors of the method itself through', async () => {
    const bytesAt = () => Promise.reject(new LlmoptError('LLMOPT_OPTION_INVALID', 'no such option'));
    await expect(sparsityForBytes(1, bytesAt, 'm')).rejects.toThrow('no such option');
  });
});

describe('planPoints', () => {
  it('plans every combination, with its bytes', async () => {
    const settings = resolveSweepOptions({ sparsities: [0, 0.5], equalBytes: [0.25] });
    const points = await planPoints(graph, settings);
    expect(points.map(({ name }) => name)).toEqual([
      'dense float32',
      'dense int8',
      'default, 0',
      'default, 0.5',
      'default, bytes of 0.25',
    ]);
    const [float32, int8, none, , equal] = points.map(({ weightBytesPerToken: bytes }) => bytes) as number[];
    expect(float32).toBe(4 * (int8 as number));
    expect(none).toBe(int8);
    expect((equal as number) / ((int8 as number) - 0.25 * layers)).toBeCloseTo(1, 2);
    expect(points.at(-1)).toMatchObject({ kind: 'larosa', method: 'default', equalBytes: 0.25 });
  });

  it('passes options on, and lets larosa refuse them', async () => {
    const settings = resolveSweepOptions({ sparsities: [0.5], methods: [{ options: { novelty: 3 } }] });
    await expect(planPoints(graph, settings)).rejects.toThrow(/no option "novelty"/);
  });
});
