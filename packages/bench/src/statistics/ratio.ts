import { type Interval, mean, median, type Summary, tInterval, variance } from './summary.ts';
import { tCritical } from './tDistribution.ts';

/** A ratio whose `mean` is geometric: 1 means equal. */
export type Ratio = Summary;

const exponentiate = (interval: Interval | null): Interval | null =>
  interval && [Math.exp(interval[0]), Math.exp(interval[1])];

/** What a ratio's interval allows to say: nothing where it holds 1, or where there is none. */
export function verdictOf({ ci95 }: Pick<Ratio, 'ci95'>): 'higher' | 'lower' | 'no difference shown' {
  if (ci95 && ci95[0] > 1) return 'higher';
  if (ci95 && ci95[1] < 1) return 'lower';
  return 'no difference shown';
}

/**
 * Ratio numerator / denominator from pairs measured one after the other: the geometric mean, with a t-interval on
 * the logarithms. Pairs that are not positive and finite are left out; undefined if none is left.
 */
export function pairedRatio(pairs: Iterable<readonly [numerator: number, denominator: number]>): Ratio | undefined {
  const logs = Array.from(pairs, ([a, b]) => Math.log(a / b)).filter(Number.isFinite);
  if (logs.length === 0) return undefined;
  return {
    mean: Math.exp(mean(logs)),
    median: Math.exp(median(logs)),
    ci95: exponentiate(tInterval(logs)),
    n: logs.length,
  };
}

/**
 * Ratio of two unpaired sets of positive samples: the ratio of their geometric means, with Welch's t-interval on the
 * logarithms. `n` is the size of the smaller set; with fewer than two samples on a side there is no interval.
 * Undefined when a side has no positive, finite sample.
 */
export function welchRatio(numerator: Iterable<number>, denominator: Iterable<number>): Ratio | undefined {
  const logsOf = (samples: Iterable<number>) => Array.from(samples, Math.log).filter(Number.isFinite);
  const a = logsOf(numerator);
  const b = logsOf(denominator);
  const n = Math.min(a.length, b.length);
  if (n === 0) return undefined;
  const difference = mean(a) - mean(b);
  const ratio = { mean: Math.exp(difference), median: Math.exp(median(a) - median(b)), n };
  if (n < 2) return { ...ratio, ci95: null };
  const [errorA, errorB] = [variance(a) / a.length, variance(b) / b.length];
  const error = errorA + errorB;
  const degrees = error ** 2 / (errorA ** 2 / (a.length - 1) + errorB ** 2 / (b.length - 1));
  const half = error > 0 ? tCritical(degrees) * Math.sqrt(error) : 0;
  return { ...ratio, ci95: exponentiate([difference - half, difference + half]) };
}
