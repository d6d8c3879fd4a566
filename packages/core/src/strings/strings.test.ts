import fc from 'fast-check';
import { expect, it } from 'vitest';
import { text as asGguf } from '../../test/rawGguf.ts';
import { createStringListBuilder } from './builder.ts';
import { packStrings, stringAt, unpackStrings } from './stringList.ts';

const strings = fc.array(fc.string({ unit: 'binary', maxLength: 20 }), { maxLength: 50 });

it('packs and unpacks', () => {
  fc.assert(
    fc.property(strings, (list) => {
      const packed = packStrings(list);
      const wellFormed = list.map((string) => string.toWellFormed());
      expect(unpackStrings(packed)).toEqual(wellFormed);
      for (const [i, string] of wellFormed.entries()) expect(stringAt(packed, i)).toBe(string);
    }),
  );
});

it('takes the strings of a file in whatever pieces it comes', () => {
  const long = fc.constantFrom('x'.repeat(65_528), 'y'.repeat(65_529), 'z'.repeat(200_000), '');
  const some = fc.array(fc.oneof({ weight: 5, arbitrary: fc.string({ maxLength: 9 }) }, long), { maxLength: 40 });
  fc.assert(
    fc.property(some, fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 5 }), (list, sizes) => {
      const file = Buffer.concat([...list.map(asGguf), Buffer.from('what follows')]);
      const builder = createStringListBuilder(list.length);
      let at = 0;
      for (let turn = 0; builder.length() < list.length; turn++) {
        const taken = builder.take(file.subarray(at, at + sizes[turn % sizes.length]!));
        at += taken;
        if (taken > 0) continue;
        // The next string is longer than the piece.
        const bytes = Number(file.readBigUInt64LE(at));
        builder.push(file.subarray(at + 8, at + 8 + bytes));
        at += 8 + bytes;
      }
      expect(file.subarray(at).toString()).toBe('what follows');
      expect(unpackStrings(builder.list())).toEqual(list);
    }),
    { numRuns: 60 },
  );
});

it('takes no string that announces more than there is', () => {
  for (const length of [5n, 2n ** 32n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const source = Buffer.alloc(12);
    source.writeBigUInt64LE(length);
    expect(createStringListBuilder(1).take(source)).toBe(0);
  }
});

it('does not take on a list beyond 2 GiB', () => {
  const builder = createStringListBuilder(3);
  builder.push(Buffer.from('abc'));
  expect(builder.fits(2 ** 31 - 4)).toBe(true);
  expect(builder.fits(2 ** 31 - 3)).toBe(false);
});
