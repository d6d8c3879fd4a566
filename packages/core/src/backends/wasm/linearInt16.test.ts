import fc from 'fast-check';
import { expect, it } from 'vitest';
import { createArena } from './arena.ts';
import { compileModule } from './kernelModules.ts';
import { packTilesInt16, tileInt16Layout } from './packing/layouts.ts';

const shape = fc.record({
  rows: fc.integer({ min: 0, max: 21 }),
  inputs: fc.integer({ min: 1, max: 150 }),
  outputs: fc.integer({ min: 1, max: 150 }),
  threads: fc.integer({ min: 1, max: 4 }),
  vectorBits: fc.constantFrom(128 as const, 256 as const),
  bias: fc.boolean(),
  counters: fc.boolean(),
  /** How many rows of weights are packed at a time. */
  part: fc.integer({ min: 1, max: 60 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

function randomNumbers(length: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state / 2 ** 32 - 0.5) * 10 ** (state % 4);
  });
}

/** Weights of which some rows are all 0. */
function randomWeights(outputs: number, inputs: number, seed: number): Float32Array {
  const zeros = randomNumbers(outputs, seed + 1);
  return randomNumbers(outputs * inputs, seed).map((number, at) =>
    Math.abs(zeros[Math.floor(at / inputs)]!) < 0.1 ? 0 : number,
  );
}

/** int16 numbers and float32 scales, by plain loops. */
function quantized(weight: Float32Array, outputs: number, inputs: number) {
  const scales = new Float32Array(outputs);
  const numbers = new Int16Array(weight.length);
  for (let out = 0; out < outputs; out++) {
    const row = weight.subarray(out * inputs, (out + 1) * inputs);
    const largest = Math.max(...row.map(Math.abs));
    scales[out] = largest / 32_767;
    if (largest > 0)
      numbers.set(
        [...row].map((number) => Math.round((number * 32_767) / largest)),
        out * inputs,
      );
  }
  return { scales, numbers };
}

/** The same sums, each operation rounded to float32, in the order of the inputs. */
function plainLinear(x: Float32Array, weight: Float32Array, bias: Float32Array | undefined, inputs: number) {
  const outputs = weight.length / inputs;
  const { scales, numbers } = quantized(weight, outputs, inputs);
  return Float32Array.from({ length: (x.length / inputs) * outputs }, (_, at) => {
    const row = Math.floor(at / outputs) * inputs;
    const out = at % outputs;
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum = Math.fround(sum + Math.fround(x[row + i]! * numbers[out * inputs + i]!));
    const scaled = Math.fround(sum * scales[out]!);
    return bias ? scaled + bias[out]! : scaled;
  });
}

it('gives the bits of plain loops, for any rows, shapes, threads and widths of vectors', () => {
  const arena = createArena();
  const { memory } = arena;
  const base = arena.allocate(1 << 20, 'a linear');
  fc.assert(
    fc.property(shape, ({ rows, inputs, outputs, threads, vectorBits, bias: hasBias, counters, part, seed }) => {
      const weight = randomWeights(outputs, inputs, seed);
      const x = randomNumbers(rows * inputs, seed + 2);
      const bias = randomNumbers(outputs, seed + 3);
      const packed = tileInt16Layout(outputs, inputs);
      new Uint8Array(memory.buffer, base, 1 << 20).fill(0);
      let at = base;
      const take = (bytes: number) => {
        at += Math.ceil(bytes / 64) * 64;
        return at - Math.ceil(bytes / 64) * 64;
      };
      const [args, rowCount, counter, next] = [take(64), take(4), take(4), take(4)];
      const input = take(x.byteLength);
      const weights = take(packed.byteLength);
      const stride = Math.ceil(outputs / 64) * 256;
      const output = take(rows * stride);
      // What lies behind the outputs must stay.
      const behind = take(64);

      const target = new Uint8Array(memory.buffer, weights, packed.byteLength);
      for (let first = 0; first < outputs; first += part) {
        packTilesInt16(weight.subarray(first * inputs, (first + part) * inputs), first, outputs, inputs, target);
      }
      new Float32Array(memory.buffer, weights + packed.bias, outputs).set(bias);
      new Float32Array(memory.buffer, input, x.length).set(x);
      new Int32Array(memory.buffer, rowCount, 1)[0] = rows;
      new Int32Array(memory.buffer, behind, 16).fill(77);
      new Int32Array(memory.buffer, args, 12).set([
        ...[rowCount, input, inputs * 4, weights, inputs, packed.tiles, weights + packed.rowScales],
        ...[hasBias ? weights + packed.bias : 0, output, stride, ...(counters ? [counter, next] : [0, 0])],
      ]);
      const { exports } = new WebAssembly.Instance(compileModule('core', vectorBits), { env: { memory } });
      const kernel = exports.linearInt16 as (args: number, thread: number, threads: number) => void;
      for (let thread = 0; thread < threads; thread++) kernel(args, thread, threads);

      const expected = plainLinear(x, weight, hasBias ? bias : undefined, inputs);
      for (let row = 0; row < rows; row++) {
        const actual = new Float32Array(memory.buffer, output + row * stride, outputs);
        expect([...actual]).toEqual([...expected.subarray(row * outputs, (row + 1) * outputs)]);
      }
      expect([...new Int32Array(memory.buffer, behind, 16)]).toEqual(new Array(16).fill(77));
    }),
    { numRuns: 300 },
  );
});

it('keeps each weight within half a step of the largest of its row', () => {
  fc.assert(
    fc.property(shape, ({ outputs, inputs, seed }) => {
      const weight = randomWeights(outputs, inputs, seed);
      const { byteLength, rowScales } = tileInt16Layout(outputs, inputs);
      const packed = new Uint8Array(byteLength);
      packTilesInt16(weight, 0, outputs, inputs, packed);
      const numbers = new Int16Array(packed.buffer);
      const scales = new Float32Array(packed.buffer, rowScales);
      let worst = 0;
      for (let out = 0; out < outputs; out++) {
        const row = weight.subarray(out * inputs, (out + 1) * inputs);
        const step = Math.max(...row.map(Math.abs)) / 32_767;
        for (const [i, number] of row.entries()) {
          const back = numbers[((out >> 5) * inputs + i) * 32 + (out & 31)]! * scales[out]!;
          if (step > 0) worst = Math.max(worst, Math.abs(back - number) / step);
          else expect(back).toBe(0);
        }
      }
      // The scale itself is rounded to float32: 32,767 steps times 2^-24.
      expect(worst).toBeLessThanOrEqual(0.503);
    }),
  );
});

it.each([Number.NaN, Infinity])('passes on that a weight is %s', (wrong) => {
  const packed = new Uint8Array(tileInt16Layout(2, 3).byteLength);
  packTilesInt16(Float32Array.of(1, wrong, 2, 1, 2, 3), 0, 2, 3, packed);
  const [first, second] = new Float32Array(packed.buffer, tileInt16Layout(2, 3).rowScales);
  expect(Number.isFinite(first)).toBe(false);
  expect(second).toBe(Math.fround(3 / 32_767));
});
