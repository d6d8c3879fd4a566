import { seededRandom } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import { randomGraph } from '../../../core/test/backends.ts';
import { keptInProportion, siteSizes, skippedBy, weightsOf } from '../budget/bytes.ts';
import { layerSites } from '../sites.ts';
import { depthFactors, screening } from './factors.ts';
import { searchBudgets } from './search.ts';
import { searchedBudget } from './searched.ts';

const graph = randomGraph({ layers: 6, width: 96, ffn: 200 });
const sizes = siteSizes(graph);
const sparsities = [0.25, 0.4, 0.5];

/** Costs as a power of what is dropped, more in some inputs and in later layers, and rows that differ. */
function landscape() {
  const random = seededRandom(3);
  const rows = Array.from({ length: 400 }, () => 0.5 + random());
  const prices = sizes.map(({ site, layer, width, outputs }) => {
    const ofSite = { attentionInput: 1, attentionOutput: 0.3, ffnInput: 2, ffnMiddle: 0.5 }[site];
    return (ofSite * Math.exp(layer / 4) * width * outputs) / weightsOf(sizes);
  });
  const cost = (kept: readonly number[]) =>
    prices.reduce((sum, price, i) => sum + price * (1 - kept[i]! / sizes[i]!.width) ** 3, 0);
  const noise = (random: () => number) => 1 + 0.02 * (random() - 0.5);
  return {
    cost,
    async measure(kept: readonly number[]) {
      const random = seededRandom(kept.reduce((hash, x) => (hash * 31 + x) >>> 0, 7));
      return Float64Array.from(rows, (row) => row * cost(kept) * noise(random));
    },
  };
}

const search = (candidates: number, seen: (kept: readonly number[], sparsity: number) => void = () => {}) => {
  const { measure } = landscape();
  let measured = 0;
  return searchBudgets({
    ...{ sizes, sparsities },
    layerBudget: (sparsity) =>
      keptInProportion(
        sizes,
        sizes.map(() => 1),
        sparsity,
      ),
    goOn: () => measured < candidates,
    async measure(kept, sparsity) {
      measured++;
      seen(kept, sparsity);
      return measure(kept);
    },
  });
};

describe('searchBudgets', () => {
  it('finds budgets that cost much less at the same bytes, at every sparsity', async () => {
    const { cost } = landscape();
    const found = await search(60);
    for (const { sparsity, kept, divergence, fixedDivergence } of found) {
      expect(weightsOf(sizes, sparsity) - skippedBy(sizes, kept)).toBeLessThan(
        Math.min(...sizes.map(({ outputs }) => outputs)),
      );
      expect(divergence! / fixedDivergence!).toBeLessThan(0.85);
      // The best that there is: what each weight costs last is the same everywhere, which for a cube is a power of one half of the price.
      const ideal = sizes.map(
        ({ site, layer }) =>
          ({ attentionInput: 1, attentionOutput: 0.3, ffnInput: 2, ffnMiddle: 0.5 })[site] ** -0.5 *
          Math.exp(-layer / 8),
      );
      expect(cost(kept) / cost(keptInProportion(sizes, ideal, sparsity))).toBeLessThan(1.06);
    }
  });

  it('measures only budgets of the bytes asked for, no more than it may, and the same again', async () => {
    for (const candidates of [0, 1, 4, 9, 25]) {
      let count = 0;
      const found = await search(candidates, (kept, sparsity) => {
        count++;
        const missing = weightsOf(sizes, sparsity) - skippedBy(sizes, kept);
        expect(missing).toBeGreaterThanOrEqual(0);
        expect(missing).toBeLessThan(Math.min(...sizes.map(({ outputs }) => outputs)));
      });
      expect(count).toBeLessThanOrEqual(candidates);
      expect(found.map(({ sparsity }) => sparsity)).toEqual(sparsities);
      expect(await search(candidates)).toEqual(found);
    }
  });

  it('takes no step for what is chance', async () => {
    let measured = 0;
    const found = await searchBudgets({
      ...{ sizes, sparsities, goOn: () => measured++ < 12 },
      layerBudget: () => sizes.map(({ width }) => width / 2),
      measure: async () => Float64Array.from({ length: 300 }, () => 0.1),
    });
    for (const { sparsity, kept, divergence, fixedDivergence } of found) {
      expect(divergence).toBe(fixedDivergence);
      expect(kept).toEqual((await search(0)).find((one) => one.sparsity === sparsity)!.kept);
    }
  });
});

it('screens factors independently of each other', () => {
  for (let a = 0; a < 11; a++) {
    expect(screening.reduce((sum, signs) => sum + signs[a]!, 0)).toBe(0);
    for (let b = 0; b < a; b++) expect(screening.reduce((sum, signs) => sum + signs[a]! * signs[b]!, 0)).toBe(0);
  }
  expect(depthFactors(sizes)).toHaveLength(11);
});

describe('searchedBudget', () => {
  const kept = (sparsity: number, scale: (layer: number) => number) =>
    keptInProportion(
      sizes,
      sizes.map(({ layer }) => scale(layer)),
      sparsity,
    );
  const stored = [kept(0.25, (layer) => 1 + layer / 10), kept(0.5, (layer) => 1.5 - layer / 10)];
  const searched = {
    sparsities: [0.25, 0.5],
    kept: Float32Array.from(stored.flat()),
    divergences: new Float32Array(4),
  };

  it('gives what was found, channel by channel', () => {
    expect(searchedBudget(graph, searched, 0.25)).toEqual(stored[0]);
    expect(searchedBudget(graph, searched, 0.5)).toEqual(stored[1]);
  });

  it('is exact in bytes between, below and above', () => {
    for (const sparsity of [0, 0.1, 0.3, 0.37, 0.45, 0.6, 0.8]) {
      const between = searchedBudget(graph, searched, sparsity);
      const missing = weightsOf(sizes, sparsity) - skippedBy(sizes, between);
      expect(missing).toBeGreaterThanOrEqual(0);
      expect(missing).toBeLessThan(Math.min(...sizes.map(({ outputs }) => outputs)));
    }
    const middle = searchedBudget(graph, searched, 0.375);
    // The first layers keep relatively more below and less above, so that in the middle they are alike.
    const shares = middle.map((channels, i) => channels / sizes[i]!.width);
    const last = layerSites(graph).length - 1;
    expect(Math.abs(shares[0]! - shares[last - 3]!)).toBeLessThan(0.06);
  });
});
