import { mean, median, type Summary, tInterval, variance } from './summary.ts';
import { tCritical } from './tDistribution.ts';

/** What an interval of a ratio allows to say. */
export type Verdict = 'higher' | 'lower' | 'no difference shown';

/** A ratio whose `mean` is geometric: 1 means equal. */
export interface Ratio extends Summary {
  verdict: Verdict;
}

const exponentiate = ([low, high]: [number, number]): [number, number] => [Math.exp(low), Math.exp(high)];

/** 'no difference shown' where the interval holds 1, or where one pair alone cannot show any. */
export function verdictOf(ci95: readonly [number, number], n: number): Verdict {
  if (n < 2 || !(ci95[0] > 1 || ci95[1] < 1)) return 'no difference shown';
  return ci95[0] > 1 ? 'higher' : 'lower';
}

/**
 * Ratio numerator / denominator from pairs measured one after the other: the geometric mean, with a t-interval on
 * the logarithms. Pairs that are not positive and finite are left out; undefined if none is left.
 */
export function pairedRatio(pairs: Iterable<readonly [numerator: number, denominator: number]>): Ratio | undefined {
  const logs = Array.from(pairs, ([a, b]) => Math.log(a / b)).filter(Number.isFinite);
  if (logs.length === 0) return undefined;
  const ci95 = exponentiate(tInterval(logs));
  return {
    mean: Math.exp(mean(logs)),
    median: Math.exp(median(logs)),
    ci95,
    n: logs.length,
    verdict: verdictOf(ci95, logs.length),
  };
}

/**
 * Ratio of two unpaired sets of positive samples: the ratio of their geometric means, with Welch's t-interval on the
 * logarithms. `n` is the size of the smaller set; with fewer than two samples on a side the interval is a point.
 * Undefined when a side has no positive, finite sample.
 */
export function welchRatio(numerator: Iterable<number>, denominator: Iterable<number>): Ratio | undefined {
  const logsOf = (samples: Iterable<number>) => Array.from(samples, Math.log).filter(Number.isFinite);
  const a = logsOf(numerator);
  const b = logsOf(denominator);
  const n = Math.min(a.length, b.length);
  if (n === 0) return undefined;
  const difference = mean(a) - mean(b);
  const errorA = variance(a) / a.length;
  const errorB = variance(b) / b.length;
  const error = errorA + errorB;
  let half = 0;
  if (n > 1 && error > 0) {
    const degrees = error ** 2 / (errorA ** 2 / (a.length - 1) + errorB ** 2 / (b.length - 1));
    half = tCritical(degrees) * Math.sqrt(error);
  }
  const ci95 = exponentiate([difference - half, difference + half]);
  return { mean: Math.exp(difference), median: Math.exp(median(a) - median(b)), ci95, n, verdict: verdictOf(ci95, n) };
}
