import type { SiteSize } from '../budget/bytes.ts';

/**
 * Ways in which budgets differ, `[factors][sites]`: how much more each of the four inputs drops in all layers, in later layers than in earlier ones,
 * and in the first and last than in those between. What the last input drops in all layers follows from the others, since the bytes are fixed.
 */
export function depthFactors(sizes: readonly SiteSize[]): Float64Array[] {
  const names = [...new Set(sizes.map(({ site }) => site))];
  const last = Math.max(1, ...sizes.map(({ layer }) => layer));
  const shapes = [() => 1, (depth: number) => depth, (depth: number) => (3 * depth * depth - 1) / 2];
  return names
    .flatMap((name) =>
      shapes.map((shape) =>
        Float64Array.from(sizes, ({ layer, site }) => (site === name ? shape((2 * layer) / last - 1) : 0)),
      ),
    )
    .filter((_, i) => i !== shapes.length * (names.length - 1));
}

/** Twelve experiments in which eleven factors are up or down, each as often with any other as against it (Plackett and Burman, 1946). */
export const screening: readonly (readonly number[])[] = (() => {
  const first = [1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1];
  const turned = first.map((_, by) => first.map((_sign, i) => first[(i + by) % first.length]!));
  return [...turned, first.map(() => -1)];
})();
