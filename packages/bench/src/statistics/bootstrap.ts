import { createRandom } from './random.ts';
import { type Interval, percentile } from './summary.ts';

export interface BootstrapOptions {
  /** Neighbouring samples that stay together: as long as their dependence reaches. Default 32. */
  blockLength?: number;
  /** Default 2000. */
  resamples?: number;
  /** Default 0. */
  seed?: number;
}

/** Sums and lengths of consecutive blocks; the last one may be shorter. */
function blocksOf(samples: ArrayLike<number>, blockLength: number): { sums: Float64Array; lengths: Float64Array } {
  const count = Math.ceil(samples.length / blockLength);
  const sums = new Float64Array(count);
  const lengths = new Float64Array(count);
  for (let index = 0; index < samples.length; index++) {
    const block = Math.floor(index / blockLength);
    sums[block] = (sums[block] as number) + (samples[index] as number);
    lengths[block] = (lengths[block] as number) + 1;
  }
  return { sums, lengths };
}

/**
 * 95 % interval of the mean of dependent samples, such as the losses of neighbouring tokens: blocks of neighbours are
 * drawn with replacement, and the interval spans the middle 95 % of the means. Null for fewer than two blocks.
 */
export function blockBootstrap(samples: ArrayLike<number>, options: BootstrapOptions = {}): Interval | null {
  const { blockLength = 32, resamples = 2000, seed = 0 } = options;
  const { sums, lengths } = blocksOf(samples, blockLength);
  if (sums.length < 2) return null;
  const random = createRandom(seed);
  const means = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    let sum = 0;
    let length = 0;
    for (let draw = 0; draw < sums.length; draw++) {
      const block = Math.floor(random() * sums.length);
      sum += sums[block] as number;
      length += lengths[block] as number;
    }
    means[resample] = sum / length;
  }
  return [percentile(means, 0.025), percentile(means, 0.975)];
}
