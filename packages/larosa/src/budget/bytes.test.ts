import fc from 'fast-check';
import { expect, it } from 'vitest';
import { randomGraph } from '../../../core/test/backends.ts';
import { keptInProportion, siteSizes, skippedBy, weightsOf } from './bytes.ts';

const sizes = siteSizes(randomGraph({ layers: 3 }));

it('skips the bytes that were asked for, to one channel, in any proportion', () => {
  const proportion = fc.array(fc.double({ min: 0.2, max: 3, noNaN: true }), {
    minLength: sizes.length,
    maxLength: sizes.length,
  });
  fc.assert(
    fc.property(proportion, fc.double({ min: 0, max: 0.7, noNaN: true }), (dropped, sparsity) => {
      const kept = keptInProportion(sizes, dropped, sparsity);
      const missing = weightsOf(sizes, sparsity) - skippedBy(sizes, kept);
      expect(missing).toBeGreaterThanOrEqual(0);
      expect(missing).toBeLessThan(Math.min(...sizes.map(({ outputs }) => outputs)));
      for (const [i, { width }] of sizes.entries()) {
        expect(kept[i]).toBeGreaterThanOrEqual(1);
        expect(kept[i]).toBeLessThanOrEqual(width);
      }
    }),
  );
});

it('drops twice as much where the proportion is twice as large', () => {
  const kept = keptInProportion(
    sizes,
    sizes.map(({ layer }) => (layer === 1 ? 2 : 1)),
    0.3,
  );
  const shares = sizes.map(({ width }, i) => 1 - kept[i]! / width);
  for (const [i, { layer, site, width }] of sizes.entries()) {
    if (layer !== 1) continue;
    const other = sizes.findIndex((one) => one.layer === 0 && one.site === site);
    expect(Math.abs(shares[i]! - 2 * shares[other]!)).toBeLessThanOrEqual(4 / width);
  }
});
