import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packHeadInt8, packInt8 } from '../../../../test/plainPacking.ts';
import { headInt8Layout, headRoom, int8Room, recordInt8Layout, tileInt8Layout } from './layouts.ts';
import { createPacker } from './packer.ts';

const sizes = fc.record({
  outputs: fc.integer({ min: 1, max: 150 }),
  inputs: fc.integer({ min: 1, max: 300 }),
  records: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

// Weights of all sizes, some of them 0, and some rows and columns of nothing else.
function randomWeights(outputs: number, inputs: number, seed: number): Float32Array {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
  const rows = Array.from({ length: outputs }, () => (next() < 0.1 ? 0 : 10 ** (4 * next() - 2)));
  const columns = Array.from({ length: inputs }, () => (next() < 0.1 ? 0 : 10 ** (4 * next() - 2)));
  return Float32Array.from(
    { length: outputs * inputs },
    (_, at) => rows[Math.floor(at / inputs)]! * columns[at % inputs]! * (next() - 0.5),
  );
}

const manyWeights = 2 ** 30;

describe('the packer', () => {
  // Few weights are packed on the main thread, many by workers.
  it.each([
    { threads: 1, weights: 1, numRuns: 60 },
    { threads: 2, weights: manyWeights, numRuns: 10 },
    { threads: 3, weights: manyWeights, numRuns: 10 },
  ])('gives the bytes that plain loops give: $threads threads', async ({ threads, weights, numRuns }) => {
    const room = Math.max(int8Room(150, 300, 160 * 320).end, headRoom(150, 300).end);
    const packer = createPacker(room, weights, { threads, vectorBits: threads === 2 ? 256 : 128 });
    try {
      await fc.assert(
        fc.asyncProperty(sizes, async ({ outputs, inputs, records, seed }) => {
          const weight = randomWeights(outputs, inputs, seed);
          const bias = randomWeights(outputs, 1, seed + 1);
          const { byteLength } = (records ? recordInt8Layout : tileInt8Layout)(outputs, inputs);
          const expected = new Uint8Array(byteLength);
          packInt8(weight, bias, outputs, inputs, records, expected);
          const actual = new Uint8Array(byteLength);
          packer.weights(outputs, inputs).set(weight);
          await packer.packInt8(outputs, inputs, records, bias, actual);
          expect(Buffer.compare(actual, expected)).toBe(0);
        }),
        { numRuns },
      );
      await fc.assert(
        fc.asyncProperty(sizes, fc.integer({ min: 1, max: 9 }), async ({ outputs, inputs, seed }, blocks) => {
          const weight = randomWeights(outputs, inputs, seed);
          const { byteLength } = headInt8Layout(outputs, inputs);
          const expected = new Uint8Array(byteLength);
          packHeadInt8(weight, 0, outputs, inputs, expected);
          const actual = new Uint8Array(byteLength);
          for (let first = 0; first < outputs; first += blocks * 16) {
            const rows = Math.min(blocks * 16, outputs - first);
            packer.weights(rows, inputs).set(weight.subarray(first * inputs, (first + rows) * inputs));
            await packer.packHead(rows, first, outputs, inputs, actual);
          }
          expect(Buffer.compare(actual, expected)).toBe(0);
        }),
        { numRuns },
      );
    } finally {
      await packer.dispose();
    }
  });
});
