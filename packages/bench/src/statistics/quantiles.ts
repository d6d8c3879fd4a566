import { createRandom } from './random.ts';
import { type Interval, percentile } from './summary.ts';

export interface QuantileOptions {
  /** Default 500. */
  resamples?: number;
  /** Default 0. */
  seed?: number;
}

/**
 * Percentiles of samples that come in groups whose members depend on each other, such as the gaps between the tokens of a request: whole
 * groups are drawn with replacement, and the 95 % interval spans the middle of what comes out. Null for fewer than two groups. A share is from
 * 0 to 1; NaN without samples.
 */
export function groupedQuantiles(
  groups: readonly (readonly number[])[],
  shares: readonly number[],
  { resamples = 500, seed = 0 }: QuantileOptions = {},
): { value: number; ci95: Interval | null }[] {
  const filled = groups.filter(({ length }) => length > 0);
  const items = filled.flatMap((samples, group) => samples.map((value) => ({ value, group })));
  items.sort((a, b) => a.value - b.value);
  const values = Float64Array.from(items, ({ value }) => value);
  const groupOf = Int32Array.from(items, ({ group }) => group);
  const drawn = shares.map(() => new Float64Array(resamples));
  if (filled.length > 1) {
    const random = createRandom(seed);
    const times = new Int32Array(filled.length);
    for (let resample = 0; resample < resamples; resample++) {
      times.fill(0);
      let total = 0;
      for (let draw = 0; draw < filled.length; draw++) {
        const group = Math.floor(random() * filled.length);
        times[group] = (times[group] as number) + 1;
        total += (filled[group] as readonly number[]).length;
      }
      quantilesOf(values, groupOf, times, total, shares).forEach((value, index) => {
        (drawn[index] as Float64Array)[resample] = value;
      });
    }
  }
  return shares.map((share, index) => ({
    value: percentile(values, share),
    ci95: filled.length > 1 ? [percentile(drawn[index]!, 0.025), percentile(drawn[index]!, 0.975)] : null,
  }));
}

/** Of sorted values, each of which is there as many times as its group was drawn. */
function quantilesOf(
  values: Float64Array,
  groupOf: Int32Array,
  times: Int32Array,
  total: number,
  shares: readonly number[],
): number[] {
  const order = shares.map((share, index) => ({ rank: share * (total - 1), index })).sort((a, b) => a.rank - b.rank);
  const found = shares.map(() => Number.NaN);
  let before = 0;
  let next = 0;
  for (let item = 0; item < values.length && next < order.length; item++) {
    before += times[groupOf[item] as number] as number;
    for (; next < order.length && before > order[next]!.rank; next++)
      found[order[next]!.index] = values[item] as number;
  }
  return found;
}
