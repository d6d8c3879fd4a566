import { buildGraph, checkGraph, type Graph, reference, wasm } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { loadFixture } from '../../../core/test/architectureFixtures.ts';
import { compile, forwardAlone, randomGraph } from '../../../core/test/backends.ts';
import { product, transposed } from '../linearAlgebra/product.ts';
import { randomBasis } from './basis.ts';
import { rotateResidual } from './rotate.ts';
import { rotateValues } from './values.ts';

const backends = [
  ['reference', reference()],
  ['wasm', wasm({ precision: 'float32', threads: 2 })],
] as const;

/** Largest difference of the logits, as a share of the largest logit. */
async function difference(backend: (typeof backends)[number][1], graph: Graph, rewritten: Graph, tokens: number[]) {
  const [expected, actual] = [await compile(reference(), graph), await compile(backend, rewritten)];
  const rows = await forwardAlone(expected, tokens);
  const other = await forwardAlone(actual, tokens, 5);
  await Promise.all([expected.dispose(), actual.dispose()]);
  const largest = Math.max(...rows.flatMap((row) => [...row.map(Math.abs)]));
  return Math.max(...rows.flatMap((row, i) => [...row.map((x, j) => Math.abs(x - other[i]![j]!))])) / largest;
}

const tokens = Array.from({ length: 20 }, (_, i) => (i * 37 + 5) % 101);

const models: [name: string, graph: () => Promise<{ graph: Graph; tokens: number[] }>][] = [
  ['a tied Llama', async () => ({ graph: randomGraph({ layers: 3 }), tokens })],
  ['an untied Llama', async () => ({ graph: randomGraph({ layers: 3, untied: true }), tokens })],
  ['Qwen2', async () => loadFixture('qwen2', 'gguf')],
  ['an untied Qwen2', async () => loadFixture('qwen2-untied', 'safetensors')],
];

describe.each(backends)('on %s', (_, backend) => {
  it.each(models)('%s in rotated bases gives the logits that it gave', async (_name, load) => {
    const { graph, tokens: prompt } = await load();
    const { width, headDim } = graph.config;
    const perLayer = rotateResidual(graph, (layer) => randomBasis(width, layer));
    expect(await difference(backend, graph, perLayer, prompt)).toBeLessThan(1e-4);
    const one = randomBasis(width, 1);
    const valued = rotateValues(graph, (layer, head) => randomBasis(headDim, layer * 10 + head));
    expect(await difference(backend, graph, valued, prompt)).toBeLessThan(1e-4);
    expect(
      await difference(
        backend,
        graph,
        rotateResidual(valued, () => one),
        prompt,
      ),
    ).toBeLessThan(1e-4);
  });
});
