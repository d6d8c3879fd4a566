import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPipeline, type Graph, type Pipeline, type Plugin, wasm } from '@llmopt/core';
import { expect, it } from 'vitest';
import { realModelPath } from '../../core/test/realModel/model.ts';
import { calibrate } from '../src/calibration/calibrate.ts';
import { larosa } from '../src/larosa.ts';
import { randomBasis } from '../src/rotation/basis.ts';
import { rotateResidual } from '../src/rotation/rotate.ts';

const text = readFileSync(new URL('../../bench/data/quality.txt', import.meta.url), 'utf8');
const halves = [text.slice(0, text.length * 0.6), text.slice(text.length * 0.6)] as const;
const positions = 192;
const sparsity = 0.4;

/** Log-probabilities of the text behind `halves`, row by row. */
async function rowsOf(pipeline: Pipeline): Promise<Float32Array[]> {
  const tokens = pipeline.tokenizer.encode(halves[1]).slice(0, positions);
  const rows = tokens.map((_, i) => i);
  const slot = pipeline.acquireSlot()!;
  const out: Float32Array[] = [];
  for (let at = 0; at < positions; at += 64) {
    const some = rows.slice(at, at + 64);
    const { logits } = await pipeline.forward({
      tokens: some.map((row) => tokens[row]!),
      slots: some.map(() => slot),
      positions: some,
      logits: some.map((_, i) => i),
    });
    const width = logits.length / some.length;
    for (let i = 0; i < some.length; i++) out.push(logShares(logits.subarray(i * width, (i + 1) * width)));
  }
  pipeline.releaseSlot(slot);
  return out;
}

function logShares(logits: Float32Array): Float32Array {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return logits.map((logit) => logit - largest - Math.log(sum));
}

function divergence(of: readonly Float32Array[], from: readonly Float32Array[]): number {
  let sum = 0;
  of.forEach((p, row) => {
    for (let i = 0; i < p.length; i++) sum += Math.exp(p[i]!) * (p[i]! - from[row]![i]!);
  });
  return sum / of.length;
}

it('SmolLM2-135M: at the same K, axes of a calibration lose least, random ones most', {
  timeout: 1_800_000,
}, async () => {
  const model = await realModelPath();
  const folder = await mkdtemp(path.join(tmpdir(), 'larosa-'));
  const run = async (...plugins: Plugin[]) => {
    await using pipeline = await createPipeline({
      ...{ model, plugins, backend: wasm(), contextLength: 256, maxRows: 64, slots: 1, cacheDir: false },
    });
    return await rowsOf(pipeline);
  };
  try {
    const { path: calibration } = await calibrate({
      model,
      text: halves[0],
      tokens: 2304,
      search: false,
      cacheDir: folder,
    });
    const dense = await run();
    const random: Plugin = {
      ...{ name: 'random', version: '1', fidelity: 'exact', before: ['larosa'] },
      graph: (graph: Graph) => {
        const basis = randomBasis(graph.config.width, 1);
        return rotateResidual(graph, () => basis);
      },
    };
    const figures = {
      none: divergence(dense, await run(larosa({ sparsity }))),
      random: divergence(dense, await run(random, larosa({ sparsity }))),
      shared: divergence(dense, await run(larosa({ sparsity, rotation: 'shared', calibration }))),
      values: divergence(dense, await run(larosa({ sparsity, values: true, calibration }))),
      ...(process.env.LLMOPT_PARITY === 'full' && {
        layer0: divergence(dense, await run(larosa({ sparsity: 0, rotation: 'layer', calibration }))),
        layer: divergence(dense, await run(larosa({ sparsity, rotation: 'layer', calibration }))),
        groups: divergence(dense, await run(larosa({ sparsity, rotation: 6, calibration }))),
        both: divergence(dense, await run(larosa({ sparsity, rotation: 'shared', values: true, calibration }))),
        compensated: divergence(
          dense,
          await run(larosa({ sparsity, values: true, compensation: true, prefill: 'sparse', calibration })),
        ),
      }),
    };
    console.log(`mean KL at sparsity ${sparsity}: ${JSON.stringify(figures)}`);
    expect(figures.random).toBeGreaterThan(figures.none * 1.5);
    expect(figures.shared).toBeLessThan(figures.random / 2);
    expect(figures.values).toBeLessThan(figures.none);
  } finally {
    await rm(folder, { recursive: true });
  }
});
