import fc from 'fast-check';
import { expect, it } from 'vitest';
import { packInt8 } from '../../../../test/packInt8.ts';
import { createInt8Packer } from './int8.ts';
import { recordInt8Layout, tileInt8Layout } from './layouts.ts';

const packer = createInt8Packer();

async function packed(weight: Float32Array, bias: Float32Array, outputs: number, inputs: number, records: boolean) {
  const { byteLength } = records ? recordInt8Layout(outputs, inputs) : tileInt8Layout(outputs, inputs);
  const actual = new Uint8Array(byteLength);
  const expected = new Uint8Array(byteLength);
  packInt8(weight, bias, outputs, inputs, records, expected);
  // In two matrices, one below the other.
  const upper = outputs >> 1;
  const read: Parameters<typeof packer.pack>[1] = async (put, biases) => {
    put(0, weight.subarray(0, upper * inputs));
    put(upper, weight.subarray(upper * inputs));
    biases.set(bias);
  };
  await packer.pack({ outputs, inputs, records }, read, actual);
  return { actual, expected };
}

it('gives the same bytes as plain loops, whatever the sizes and the numbers', async () => {
  const number = fc.oneof(
    { weight: 20, arbitrary: fc.float({ min: -1, max: 1, noNaN: true }) },
    fc.constantFrom(0, -0, 1e-30, -3e38, 0.5, 127),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 70 }),
      fc.boolean(),
      fc.array(number, { minLength: 1, maxLength: 300 }),
      fc.boolean(),
      async (outputs, inputs, records, numbers, odd) => {
        const weight = Float32Array.from(
          { length: outputs * inputs },
          // Whole rows and columns of zeros, too.
          (_, at) => (odd && Math.floor(at / inputs) % 3 === 0 ? 0 : numbers[(at * 7) % numbers.length]!),
        );
        const bias = Float32Array.from({ length: outputs }, (_, i) => numbers[i % numbers.length]!);
        const { actual, expected } = await packed(weight, bias, outputs, inputs, records);
        expect(Buffer.compare(actual, expected)).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

it('gives the same bytes for a matrix of a real size', async () => {
  let state = 1;
  const weight = Float32Array.from({ length: 577 * 331 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state / 2 ** 31) ** 3;
  });
  for (const records of [false, true]) {
    const { actual, expected } = await packed(weight, new Float32Array(577), 577, 331, records);
    expect(Buffer.compare(actual, expected)).toBe(0);
  }
});
