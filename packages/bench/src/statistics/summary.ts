import { tCritical } from './tDistribution.ts';

export type Interval = [low: number, high: number];

/** A figure that was measured `n` times. `ci95` is where its mean lies with 95 % confidence; null if `n` is 1. A type, so that it fits open objects. */
export type Summary = {
  mean: number;
  median: number;
  ci95: Interval | null;
  n: number;
};

/** Arithmetic mean; NaN without samples. */
export function mean(samples: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < samples.length; index++) sum += samples[index] as number;
  return sum / samples.length;
}

/** Sample variance (divisor n - 1); 0 with fewer than two samples. */
export function variance(samples: ArrayLike<number>): number {
  if (samples.length < 2) return 0;
  const centre = mean(samples);
  let sum = 0;
  for (let index = 0; index < samples.length; index++) sum += ((samples[index] as number) - centre) ** 2;
  return sum / (samples.length - 1);
}

/** The value below which `share` (0 to 1) of the samples lie, with linear interpolation; NaN without samples. */
export function percentile(samples: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(samples).sort();
  const rank = Math.min(Math.max(share, 0), 1) * (sorted.length - 1);
  const low = sorted[Math.floor(rank)] ?? Number.NaN;
  const high = sorted[Math.ceil(rank)] ?? Number.NaN;
  return low + (high - low) * (rank - Math.floor(rank));
}

/** The middle sample, or the mean of the two in the middle; NaN without samples. */
export function median(samples: ArrayLike<number>): number {
  return percentile(samples, 0.5);
}

/** 95 % interval of the mean by Student's t; null with fewer than two samples, which say nothing about the spread. */
export function tInterval(samples: ArrayLike<number>): Interval | null {
  if (samples.length < 2) return null;
  const centre = mean(samples);
  const half = tCritical(samples.length - 1) * Math.sqrt(variance(samples) / samples.length);
  return [centre - half, centre + half];
}

/** Mean, median and 95 % t-interval. Samples that are not finite are left out; undefined if none is left. */
export function summarize(samples: ArrayLike<number>): Summary | undefined {
  const finite = Array.from(samples).filter(Number.isFinite);
  if (finite.length === 0) return undefined;
  return { mean: mean(finite), median: median(finite), ci95: tInterval(finite), n: finite.length };
}
