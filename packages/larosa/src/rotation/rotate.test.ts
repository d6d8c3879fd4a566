import { checkGraph, type Graph, reference, wasm } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { loadFixture } from '../../../core/test/architectureFixtures.ts';
import { compile, forwardAlone, randomGraph } from '../../../core/test/backends.ts';
import { type Basis, randomBasis } from './basis.ts';
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

interface Loaded {
  graph: Graph;
  tokens: number[];
  close?: () => Promise<void>;
}

const models: [name: string, load: () => Promise<Loaded>][] = [
  ['a tied Llama', async () => ({ graph: randomGraph({ layers: 3 }), tokens })],
  ['an untied Llama', async () => ({ graph: randomGraph({ layers: 3, untied: true }), tokens })],
  ['Qwen2', async () => loadFixture('qwen2', 'gguf')],
  ['an untied Qwen2', async () => loadFixture('qwen2-untied', 'safetensors')],
];

describe.each(backends)('on %s', (_, backend) => {
  it.each(models)('%s in rotated bases gives the logits that it gave', async (_name, load) => {
    const { graph, tokens: prompt, close } = await load();
    const { width, headDim } = graph.config;
    const perLayer = rotateResidual(graph, (layer) => randomBasis(width, layer));
    expect(await difference(backend, graph, perLayer, prompt)).toBeLessThan(1e-4);
    const one = randomBasis(width, 1);
    const valued = rotateValues(graph, (layer, head) => randomBasis(headDim, layer * 10 + head));
    expect(await difference(backend, graph, valued, prompt)).toBeLessThan(1e-4);
    const both = rotateResidual(valued, () => one);
    expect(await difference(backend, graph, both, prompt)).toBeLessThan(1e-4);
    await close?.();
  });
});

describe('rotateResidual', () => {
  it('keeps a tied embedding as it is, and turns its rows by two small linears', () => {
    const graph = randomGraph({ layers: 3 });
    const basis = randomBasis(graph.config.width, 1);
    const rotated = rotateResidual(graph, () => basis);
    const embedded = rotated.ops.find((op) => op.kind === 'embed')!;
    const head = rotated.ops.at(-1)!;
    expect(head.params).toEqual({ weight: 'token_embd.weight' });
    expect(embedded.params).toEqual({ weight: 'token_embd.weight' });
    expect(rotated.params.get('token_embd.weight')).toBe(graph.params.get('token_embd.weight'));
    expect(rotated.ops.length).toBe(graph.ops.length + 2);
    expect(checkGraph(rotated).get(rotated.logits)!.width).toBe(graph.config.vocabularySize);
  });

  it('has one linear more where the basis changes, and none where it does not', () => {
    const graph = randomGraph({ layers: 4, untied: true });
    const bases = [1, 2].map((seed) => randomBasis(graph.config.width, seed));
    const count = (basisOf: (layer: number) => Basis) => rotateResidual(graph, basisOf).ops.length - graph.ops.length;
    expect(count(() => bases[0]!)).toBe(0);
    expect(count((layer) => bases[Math.floor(layer / 2)]!)).toBe(1);
    expect(count((layer) => bases[layer % 2]!)).toBe(3);
  });

  it('names all that the numbers depend on: other bases, other keys', () => {
    const graph = randomGraph();
    const keys = (seed: number) =>
      new Map(
        [...rotateResidual(graph, () => randomBasis(graph.config.width, seed)).params].map(([name, param]) => [
          name,
          param.key,
        ]),
      );
    const [one, other] = [keys(1), keys(2)];
    expect(one).toEqual(keys(1));
    const turned = [...one].filter(([name]) => !graph.params.has(name) && name !== 'larosa.ones');
    expect(turned.length).toBe(7 * 2 + 2);
    for (const [name, key] of turned) expect(other.get(name)).not.toBe(key);
  });

  it('reads rows of a parameter as they are in the whole', async () => {
    const graph = randomGraph({ untied: true });
    const { width, headDim } = graph.config;
    const valued = rotateValues(graph, () => randomBasis(headDim, 2));
    const { params } = rotateResidual(valued, (layer) => randomBasis(width, layer));
    for (const [name, param] of params) {
      const [rows, columns = 1] = param.shape as [number, number?];
      const whole = await param.read();
      expect(whole.length, name).toBe(rows * columns);
      expect([...(await param.read([3, rows - 2]))], name).toEqual([
        ...whole.subarray(3 * columns, (rows - 2) * columns),
      ]);
    }
  });

  it('says why a model with LayerNorm cannot be rotated; its values can', async () => {
    const graph = randomGraph({ architecture: 'phi2' });
    expect(() => rotateResidual(graph, () => randomBasis(graph.config.width, 1))).toThrow(
      /layerNorm of layer 0 .*takes the mean off the residual stream/s,
    );
    const valued = rotateValues(graph, (layer, head) => randomBasis(graph.config.headDim, layer * 10 + head));
    expect(await difference(reference(), graph, valued, tokens)).toBeLessThan(1e-4);
  });
});
