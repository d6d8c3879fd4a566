import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type TensorType, tensorFormats } from './formats.ts';

interface Golden {
  type: TensorType;
  blocks: string;
  values: string;
}

const fixture = JSON.parse(readFileSync(new URL('../../../test/fixtures/quants.json', import.meta.url), 'utf8')) as {
  decode: Golden[];
};
const types = Object.keys(tensorFormats) as TensorType[];

function decode(type: TensorType, bytes: Uint8Array): Float32Array {
  const { blockBytes, blockElements, decode } = tensorFormats[type];
  const blocks = bytes.length / blockBytes;
  const values = new Float32Array(blocks * blockElements);
  decode(bytes, blocks, values, 0);
  return values;
}

/** Value `index` of a block read bit by bit as the format describes it: slow, and shares nothing with the decoders. */
function referenceValue(type: TensorType, block: Uint8Array, index: number): number {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const half = (at: number) => {
    const bits = view.getUint16(at, true);
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
  };
  const bit = (at: number, position: number) =>
    Math.floor(block[at + Math.floor(position / 8)]! / 2 ** (position % 8)) % 2;
  const nibble = (at: number, upper: boolean) => (upper ? Math.floor(block[at]! / 16) : block[at]! % 16);
  const of32 = (at: number) => nibble(at + (index % 16), index >= 16);
  switch (type) {
    case 'F32':
      return view.getFloat32(0, true);
    case 'F16':
      return half(0);
    case 'BF16': {
      const wide = new DataView(new ArrayBuffer(4));
      wide.setUint16(0, view.getUint16(0, true));
      return wide.getFloat32(0);
    }
    case 'Q8_0':
      return half(0) * view.getInt8(2 + index);
    case 'Q4_0':
      return half(0) * (of32(2) - 8);
    case 'Q4_1':
      return half(0) * of32(4) + half(2);
    case 'Q5_0':
      return half(0) * (of32(6) + 16 * bit(2, index) - 16);
    case 'Q5_1':
      return half(0) * (of32(8) + 16 * bit(4, index)) + half(2);
    case 'Q4_K':
    case 'Q5_K': {
      const group = Math.floor(index / 32);
      const packed = (at: number) => block[4 + at]!;
      const scale = group < 4 ? packed(group) % 64 : (packed(group + 4) % 16) + 16 * Math.floor(packed(group - 4) / 64);
      const minimum =
        group < 4 ? packed(group + 4) % 64 : Math.floor(packed(group + 4) / 16) + 16 * Math.floor(packed(group) / 64);
      const nibbles = type === 'Q4_K' ? 16 : 48;
      const low = nibble(nibbles + 32 * Math.floor(index / 64) + (index % 32), group % 2 === 1);
      const high = type === 'Q4_K' ? 0 : bit(16 + (index % 32), group);
      return half(0) * scale * (low + 16 * high) - half(2) * minimum;
    }
    case 'Q6_K': {
      const upper = Math.floor(index / 128);
      const inside = index % 128;
      const low = nibble(64 * upper + (inside % 64), inside >= 64);
      const high = Math.floor(block[128 + 32 * upper + (inside % 32)]! / 4 ** Math.floor(inside / 32)) % 4;
      return half(208) * view.getInt8(192 + Math.floor(index / 16)) * (low + 16 * high - 32);
    }
  }
}

describe('tensor formats', () => {
  it('has a golden block for every type', () => {
    expect(fixture.decode.map(({ type }) => type).toSorted()).toEqual(types.toSorted());
  });

  it.each(fixture.decode)('decodes $type exactly as the reference implementation', ({ type, blocks, values }) => {
    const decoded = decode(type, Buffer.from(blocks, 'base64'));
    expect(Buffer.from(decoded.buffer).toString('base64')).toBe(values);
  });

  it.each(types)('decodes any %s block as its description says', (type) => {
    const { blockBytes, blockElements } = tensorFormats[type];
    fc.assert(
      fc.property(fc.uint8Array({ minLength: blockBytes, maxLength: blockBytes }), (block) => {
        // Exponents of infinities and NaN are cleared; formats differ in where their float16 fields are.
        const halves = {
          F32: [2],
          F16: [0],
          BF16: [0],
          Q4_1: [0, 2],
          Q5_1: [0, 2],
          Q4_K: [0, 2],
          Q5_K: [0, 2],
          Q6_K: [208],
        }[type as string] ?? [0];
        for (const at of halves) block[at + 1]! &= 0b1011_1111;
        const decoded = decode(type, block);
        for (let index = 0; index < blockElements; index++) {
          expect(decoded[index]).toBe(Math.fround(referenceValue(type, block, index)));
        }
      }),
      { numRuns: 100 },
    );
  });

  it.each(types)('writes %s blocks where it is told and nowhere else', (type) => {
    const { blockBytes, blockElements, decode } = tensorFormats[type];
    const target = new Float32Array(3 * blockElements).fill(7);
    decode(new Uint8Array(3 * blockBytes), 1, target, blockElements);
    expect(target.subarray(0, blockElements).every((value) => value === 7)).toBe(true);
    expect(target.subarray(blockElements, 2 * blockElements).every((value) => value === 0)).toBe(true);
    expect(target.subarray(2 * blockElements).every((value) => value === 7)).toBe(true);
  });
});
