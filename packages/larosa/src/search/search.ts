import { keptInProportion, type SiteSize } from '../budget/bytes.ts';
import { defaultCoefficients } from '../budget/coefficients.ts';
import { depthFactors, screening } from './factors.ts';

/** What a budget was measured to cost: the divergence from the dense model in each row, in nats. */
export type Measure = (kept: readonly number[], sparsity: number) => Promise<Float64Array>;

export interface SearchOptions {
  readonly sizes: readonly SiteSize[];
  readonly sparsities: readonly number[];
  /** How many channels each site keeps by the costs of the calibration. */
  readonly layerBudget: (sparsity: number) => readonly number[];
  readonly measure: Measure;
  /** Whether one more budget may be measured. */
  readonly goOn: () => boolean;
}

/** The best budget of a sparsity. */
export interface Found {
  readonly sparsity: number;
  /** Channels of each site. */
  readonly kept: readonly number[];
  /** Mean divergence in nats, and that of the fixed coefficients; undefined where the time did not suffice to measure one. */
  readonly divergence?: number;
  readonly fixedDivergence?: number;
}

interface Candidate {
  /** What each site drops, in proportion. */
  readonly dropped: Float64Array;
  readonly kept: readonly number[];
  readonly rows: Float64Array;
}

/** How far up and down a screening goes, in logarithms of what is dropped, and how far a step goes at most on average. */
const SCREENED = 0.15;
const LARGEST_STEP = 0.4;

/**
 * Looks for budgets that diverge least from the dense model, at equal bytes. First the fixed coefficients; at the middle sparsity a blend of
 * them with shares by costs, those alone, and equal shares; then rounds: a screening of how the four inputs and the depth should differ, steps in the direction that it
 * tells, and what came of it at the other sparsities. A budget takes another's place where it is better by more than chance on the same rows.
 */
export async function searchBudgets(options: SearchOptions): Promise<Found[]> {
  const { sizes, sparsities, layerBudget, measure, goOn } = options;
  const home = sparsities[Math.floor(sparsities.length / 2)]!;
  const fixed = Float64Array.from(sizes, ({ site }) => defaultCoefficients[site]);
  const best = new Map<number, Candidate>();
  const first = new Map<number, Candidate>();

  const tried = async (dropped: Float64Array, sparsity: number): Promise<Candidate | undefined> => {
    if (!goOn()) return undefined;
    const kept = keptInProportion(sizes, dropped, sparsity);
    return { dropped, kept, rows: await measure(kept, sparsity) };
  };
  /** Whether it took the place of the best. */
  const challenge = async (dropped: Float64Array, sparsity: number): Promise<boolean> => {
    const one = await tried(dropped, sparsity);
    const champion = best.get(sparsity);
    if (!one || (champion && !isBetter(one, champion))) return false;
    if (!champion) first.set(sparsity, one);
    best.set(sparsity, one);
    return true;
  };

  const others = sparsities.filter((one) => one !== home);
  const spread = async () => {
    const { dropped } = best.get(home)!;
    for (const sparsity of others) {
      const before = best.get(sparsity);
      if (!(await challenge(dropped, sparsity)) && before) await challenge(blend(before.dropped, dropped), sparsity);
    }
  };

  for (const sparsity of [home, ...others]) await challenge(fixed, sparsity);
  const byCosts = layerBudget(home);
  const costly = Float64Array.from(sizes, ({ width }, i) => (1 - byCosts[i]! / width) / home);
  // The most promising first: a slow machine may measure ten in all.
  await challenge(blend(fixed, costly), home);
  if (best.get(home) !== first.get(home)) await spread();
  const lead = best.get(home);
  await challenge(costly, home);
  await challenge(
    fixed.map(() => 1),
    home,
  );
  if (best.get(home) !== lead) await spread();
  for (let round = 0; goOn(); round++) {
    const start = best.get(home)!;
    const direction = await screen(sizes, start, SCREENED / (1 + round), (dropped) => tried(dropped, home));
    if (!direction) break;
    // A whole step is the best by a curvature that holds near the start alone.
    const half = await challenge(moved(start.dropped, direction, 1 / 2), home);
    await challenge(moved(start.dropped, direction, half ? 1 : 1 / 4), home);
    if (best.get(home) !== start) await spread();
  }
  return sparsities.map((sparsity) => {
    const one = best.get(sparsity);
    if (!one) return { sparsity, kept: keptInProportion(sizes, fixed, sparsity) };
    return { sparsity, kept: one.kept, divergence: mean(one.rows), fixedDivergence: mean(first.get(sparsity)!.rows) };
  });
}

/**
 * By how much to change the logarithm of what each site drops: Newton's step, each factor shrunk by how much of its slope is chance.
 */
async function screen(
  sizes: readonly SiteSize[],
  start: Candidate,
  by: number,
  tried: (dropped: Float64Array) => Promise<Candidate | undefined>,
): Promise<Float64Array | undefined> {
  const factors = depthFactors(sizes);
  let risen = 0;
  const slopes = factors.map(() => new Float64Array(start.rows.length));
  for (const signs of screening) {
    const change = new Float64Array(sizes.length);
    for (const [f, factor] of factors.entries()) for (const [i, x] of factor.entries()) change[i]! += signs[f]! * x;
    const one = await tried(moved(start.dropped, change, by));
    if (!one) return undefined;
    risen += (mean(one.rows) - mean(start.rows)) / screening.length;
    for (const [f, slope] of slopes.entries()) {
      for (let row = 0; row < slope.length; row++)
        slope[row]! += (signs[f]! * (one.rows[row]! - start.rows[row]!)) / (screening.length * by);
    }
  }
  const skipped = (i: number) => (sizes[i]!.width - start.kept[i]!) * sizes[i]!.outputs;
  const all = sizes.reduce((sum, _, i) => sum + skipped(i), 0);
  const weights = factors.map((factor) => factor.reduce((sum, x, i) => sum + x * x * skipped(i), 0) / all);
  // Up and down cancel each other, and what is left is curvature: that of each factor taken for in proportion to the weights that it moves.
  const curvature = (2 * risen) / (by * by * weights.reduce((sum, weight) => sum + weight, 0));
  if (!(curvature > 0)) return undefined;
  const direction = new Float64Array(sizes.length);
  for (const [f, factor] of factors.entries()) {
    const slope = mean(slopes[f]!);
    const chance = standardError(slopes[f]!) ** 2;
    const weight = weights[f]!;
    if (slope === 0 || weight === 0) continue;
    const step = (-slope * Math.max(0, 1 - chance / slope ** 2)) / (curvature * weight);
    for (const [i, x] of factor.entries()) direction[i]! += step * x;
  }
  const size = Math.sqrt(direction.reduce((sum, x) => sum + x * x, 0) / direction.length);
  return size === 0 ? undefined : direction.map((x) => x * Math.min(1, LARGEST_STEP / size));
}

const moved = (dropped: Float64Array, change: Float64Array, by: number) =>
  dropped.map((x, i) => x * Math.exp(by * change[i]!));

const blend = (a: Float64Array, b: Float64Array) => a.map((x, i) => Math.sqrt(x * b[i]!));

/** On the same rows, by more than one standard error. */
function isBetter(one: Candidate, other: Candidate): boolean {
  const gains = one.rows.map((divergence, row) => other.rows[row]! - divergence);
  return mean(gains) > standardError(gains);
}

const mean = (numbers: Float64Array) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

function standardError(numbers: Float64Array): number {
  const centre = mean(numbers);
  const squares = numbers.reduce((sum, x) => sum + (x - centre) ** 2, 0);
  return Math.sqrt(squares / Math.max(1, numbers.length - 1) / numbers.length);
}
