import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tensorFormats } from '../dequantize/formats.ts';
import { encoders, type WritableType } from './encode.ts';

const fixture = JSON.parse(readFileSync(new URL('../../../test/fixtures/quants.json', import.meta.url), 'utf8')) as {
  encode: { type: WritableType; values: string; encoded: string }[];
};

describe('encoders', () => {
  it.each(fixture.encode)('encodes $type exactly as the reference implementation', ({ type, values, encoded }) => {
    const bytes = new Uint8Array(Buffer.from(values, 'base64'));
    expect(Buffer.from(encoders[type](new Float32Array(bytes.buffer))).toString('base64')).toBe(encoded);
  });

  it('keeps Q8_0 within half a step of the largest magnitude, plus the rounding of the scale to 11 bits', () => {
    const block = fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(block, (list) => {
        const values = Float32Array.from(list);
        const decoded = new Float32Array(32);
        tensorFormats.Q8_0.decode(encoders.Q8_0(values), 1, decoded, 0);
        const largest = Math.max(...values.map(Math.abs));
        // 127 steps times the scale's relative error of 2^-11; scales below 2^-14 have an absolute one of 2^-25.
        const tolerance = (largest / 127) * 0.5001 + largest * 2 ** -11 + 127 * 2 ** -25;
        values.forEach((value, index) => {
          expect(Math.abs(decoded[index]! - value)).toBeLessThanOrEqual(tolerance);
        });
      }),
    );
  });

  it.each([
    ['F16', Number.NaN],
    ['F16', 65_520],
    ['Q8_0', Number.POSITIVE_INFINITY],
    ['Q8_0', 9e6],
    ['Q8_0', Number.NaN],
  ] as const)('refuses %s for %s', (type, value) => {
    const values = new Float32Array(32);
    values[5] = value;
    expect(() => encoders[type](values)).toThrow(`Value 5 is ${value}, which ${type} cannot hold.`);
  });
});
