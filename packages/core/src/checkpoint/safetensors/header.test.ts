import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entry, rawSafetensors } from '../../../test/rawSafetensors.ts';
import { LlmoptError } from '../../errors.ts';
import { readSafetensorsHeader } from './header.ts';

/** Reads a header from memory; `largest` is the most that was allocated at once. */
async function read(bytes: Uint8Array) {
  let largest = 0;
  const source = {
    path: 'test.safetensors',
    size: bytes.length,
    async read(target: Uint8Array, position: number) {
      if (position < 0 || position + target.length > bytes.length) throw new Error('read outside the file');
      target.set(bytes.subarray(position, position + target.length));
    },
  };
  const allocate = (size: number) => {
    largest = Math.max(largest, size);
    return Buffer.alloc(size);
  };
  try {
    return { header: await readSafetensorsHeader(source, allocate), largest };
  } catch (error) {
    return { error, largest };
  }
}

const sound = rawSafetensors(
  `{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"mask":{"dtype":"BOOL","shape":[1,3],"data_offsets":[32,35]},"empty":{"dtype":"F16","shape":[0,7],"data_offsets":[32,32]}} `,
  35,
);

describe('readSafetensorsHeader', () => {
  it('says where each tensor is', async () => {
    const { header } = await read(sound);
    const start = sound.length - 35;
    expect(header!.metadata).toEqual(new Map([['format', 'pt']]));
    expect([...header!.tensors.values()]).toEqual([
      { name: 'a.weight', shape: [2, 3], type: 'F32', byteLength: 24, elements: 6, position: start },
      { name: 'b', shape: [4], type: 'BF16', byteLength: 8, elements: 4, position: start + 24 },
      { name: 'empty', shape: [0, 7], type: 'F16', byteLength: 0, elements: 0, position: start + 32 },
      { name: 'mask', shape: [1, 3], type: 'BOOL', byteLength: 3, elements: 3, position: start + 32 },
    ]);
  });

  it('takes a file without tensors, and a scalar', async () => {
    expect((await read(rawSafetensors({}))).header?.tensors.size).toBe(0);
    const { header } = await read(rawSafetensors({ x: entry('F16', [], 0, 2) }, 2));
    expect(header?.tensors.get('x')).toMatchObject({ shape: [], elements: 1, byteLength: 2 });
  });

  const f32 = (...offsets: unknown[]) => entry('F32', [1], ...offsets);
  const huge = Number.MAX_SAFE_INTEGER;
  const broken: [name: string, bytes: Buffer, message: string, code?: string][] = [
    ['an empty file', Buffer.alloc(0), 'it has 0 bytes'],
    ['seven bytes', Buffer.alloc(7), 'it has 7 bytes'],
    ['a header past the end', rawSafetensors({}, 0, 3n), 'its header is said to have 3 bytes, the file has 10'],
    ['a header above the limit', rawSafetensors({}, 0, 100_000_001n), 'said to have 100000001 bytes'],
    ['the longest header', rawSafetensors({}, 0, 2n ** 64n - 1n), 'said to have 18446744073709551615 bytes'],
    ['a header of no bytes', rawSafetensors({}, 0, 0n), 'its header cannot be read'],
    ['a header cut short', rawSafetensors({ a: f32(0, 4) }, 4, 20n), 'its header cannot be read'],
    ['no JSON', rawSafetensors('{"a":'), 'its header cannot be read'],
    ['no UTF-8', rawSafetensors('', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 5n), 'its header cannot be read'],
    ['a list', rawSafetensors([]), 'is no JSON object'],
    ['null', rawSafetensors(null), 'is no JSON object'],
    ['a space in front', rawSafetensors(' {}'), 'is no JSON object'],
    [
      'a name twice',
      rawSafetensors('{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"\\u0061":{}}'),
      '"a" appears twice',
    ],
    ['an entry twice', rawSafetensors('{"a":{"dtype":"F32","dtype":"F16"}}'), '"dtype" appears twice'],
    ['metadata of numbers', rawSafetensors({ __metadata__: { a: 1 } }), '__metadata__ is no object of texts'],
    ['metadata as a list', rawSafetensors({ __metadata__: [] }), '__metadata__ is no object of texts'],
    ['a number for a tensor', rawSafetensors({ a: 1 }), 'tensor "a" is described by no object'],
    ['no type', rawSafetensors({ a: entry(1, [1], 0, 4) }, 4), 'tensor "a" has no dtype'],
    ['an unknown type', rawSafetensors({ a: entry('F7', [1], 0, 4) }, 4), 'the unknown type "F7"', 'UNSUPPORTED'],
    ['a type of every object', rawSafetensors({ a: entry('toString', [1], 0, 4) }, 4), '"toString"', 'UNSUPPORTED'],
    ['no shape', rawSafetensors({ a: entry('F32', 4, 0, 4) }, 4), 'no shape of whole numbers'],
    ['a negative size', rawSafetensors({ a: entry('F32', [-1, -1], 0, 4) }, 4), 'no shape of whole numbers'],
    ['half a size', rawSafetensors({ a: entry('F32', [0.5, 2], 0, 4) }, 4), 'no shape of whole numbers'],
    ['a text as a size', rawSafetensors({ a: entry('F32', ['1'], 0, 4) }, 4), 'no shape of whole numbers'],
    [
      'a size that JSON rounds',
      rawSafetensors('{"a":{"dtype":"F32","shape":[9007199254740993],"data_offsets":[0,4]}}', 4),
      'no shape',
    ],
    ['an overflow', rawSafetensors({ a: entry('F32', [2 ** 31, 2 ** 31, 4], 0, 4) }, 4), 'the impossible shape'],
    ['an overflow to nothing', rawSafetensors({ a: entry('F32', [huge, huge, 0], 0, 0) }), 'the impossible shape'],
    ['one offset', rawSafetensors({ a: entry('F32', [1], 0) }, 4), 'no two offsets'],
    ['three offsets', rawSafetensors({ a: f32(0, 4, 4) }, 4), 'no two offsets'],
    ['a negative offset', rawSafetensors({ a: f32(-4, 0) }, 4), 'no two offsets'],
    ['an end before its start', rawSafetensors({ a: f32(4, 0) }, 4), 'ends at 0, before its start at 4'],
    [
      'a size that does not fit',
      rawSafetensors({ a: entry('F32', [2], 0, 4) }, 4),
      '[2] F32, takes 8 bytes, but has 4',
    ],
    ['a third of a byte', rawSafetensors({ a: entry('F4', [3], 0, 2) }, 2), 'takes 1.5 bytes, but has 2'],
    ['a gap at the start', rawSafetensors({ a: f32(4, 8) }, 8), 'tensor "a" leaves 4 bytes unused'],
    ['a gap', rawSafetensors({ a: f32(0, 4), b: f32(8, 12) }, 12), 'tensor "b" leaves 4 bytes unused'],
    ['an overlap', rawSafetensors({ a: entry('F32', [2], 0, 8), b: f32(4, 8) }, 8), 'tensor "b" overlaps'],
    ['the same place twice', rawSafetensors({ a: f32(0, 4), b: f32(0, 4) }, 4), 'tensor "b" overlaps'],
    ['an end past that of the file', rawSafetensors({ a: f32(0, 4) }, 3), 'tensor "a" ends at byte'],
    [
      'an end far past that of the file',
      rawSafetensors({ a: entry('U8', [huge - 1000], 0, huge - 1000) }),
      'impossible shape',
    ],
    ['bytes behind the last tensor', rawSafetensors({ a: f32(0, 4) }, 5), '1 bytes after the last tensor'],
  ];
  it.each(broken)('refuses %s', async (_, bytes, message, code = 'INVALID') => {
    const { error, largest } = await read(bytes);
    expect(error).toBeInstanceOf(LlmoptError);
    expect((error as LlmoptError).code).toBe(`LLMOPT_SAFETENSORS_${code}`);
    expect((error as LlmoptError).message).toContain(message);
    expect(largest).toBeLessThanOrEqual(Math.max(8, bytes.length));
  });

  it('takes the nesting of a hostile header calmly', async () => {
    const { error } = await read(rawSafetensors(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`));
    expect(error).toMatchObject({ code: 'LLMOPT_SAFETENSORS_INVALID' });
  });

  it('refuses every truncation', async () => {
    for (let length = 0; length < sound.length; length++) {
      const { error } = await read(sound.subarray(0, length));
      expect(LlmoptError.isInstance(error) && error.code, `cut at ${length}`).toBe('LLMOPT_SAFETENSORS_INVALID');
    }
  });

  it('either reads or refuses any mutated file, and never asks for more memory than the file has bytes', async () => {
    const at = fc.nat(sound.length - 36);
    const hostile = fc.constantFrom(
      '0',
      '1',
      '-1',
      '4294967296',
      '9007199254740992',
      '1e308',
      '1e-3',
      'null',
      '[]',
      '"',
      '{',
      '}',
    );
    const mutation = fc.oneof(
      fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }),
      fc.record({ kind: fc.constant('digit' as const), nth: fc.nat(40), digit: fc.nat(9) }),
      fc.record({ kind: fc.constant('splice' as const), at, length: fc.nat(8), text: hostile }),
      fc.record({ kind: fc.constant('number' as const), nth: fc.nat(20), text: hostile }),
      fc.record({
        kind: fc.constant('name' as const),
        nth: fc.nat(15),
        text: fc.constantFrom('a.weight', 'b', 'F32', 'shape', ''),
      }),
      fc.record({
        kind: fc.constant('length' as const),
        length: fc.constantFrom(0n, 1n, 2n ** 31n, 2n ** 53n, 2n ** 64n - 1n),
      }),
      fc.record({ kind: fc.constant('cut' as const), at }),
    );
    const outcomes = { read: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        async (mutations, fixLength) => {
          let bytes: Buffer = Buffer.from(sound);
          const replaceNth = (pattern: RegExp, nth: number, text: string) => {
            let count = 0;
            const header = bytes.subarray(8).toString('latin1');
            const changed = header.replace(pattern, (found) => (count++ === nth ? text : found));
            bytes = Buffer.concat([bytes.subarray(0, 8), Buffer.from(changed, 'latin1')]);
          };
          for (const change of mutations) {
            if (bytes.length < 8) break;
            if (change.kind === 'flip') bytes[change.at % bytes.length]! ^= 1 << change.bit;
            else if (change.kind === 'digit') replaceNth(/[0-9]/g, change.nth, String(change.digit));
            else if (change.kind === 'number') replaceNth(/[0-9]+/g, change.nth, change.text);
            else if (change.kind === 'name') replaceNth(/"[^"]*"/g, change.nth, `"${change.text}"`);
            else if (change.kind === 'length') bytes.writeBigUInt64LE(change.length);
            else if (change.kind === 'cut') bytes = bytes.subarray(0, change.at);
            else {
              bytes = Buffer.concat([
                bytes.subarray(0, change.at),
                Buffer.from(change.text),
                bytes.subarray(change.at + change.length),
              ]);
            }
          }
          // Half of the mutations get a length that fits, or most would not come past it.
          if (fixLength && bytes.length > 43) bytes.writeBigUInt64LE(BigInt(bytes.length - 8 - 35));
          const { header, error, largest } = await read(bytes);
          expect(largest).toBeLessThanOrEqual(Math.max(8, bytes.length));
          if (header) {
            outcomes.read++;
            const places = [...header.tensors.values()];
            for (const { position, byteLength } of places) {
              expect(position).toBeGreaterThanOrEqual(8);
              expect(position + byteLength).toBeLessThanOrEqual(bytes.length);
            }
            expect(places.reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(
              bytes.length - 8 - Number(bytes.readBigUInt64LE()),
            );
          } else {
            outcomes.refused++;
            if (!LlmoptError.isInstance(error)) throw error;
            expect(error.code).toMatch(/^LLMOPT_SAFETENSORS_(INVALID|UNSUPPORTED)$/);
          }
        },
      ),
      { numRuns: 5_000 },
    );
    expect(outcomes.read).toBeGreaterThan(100);
    expect(outcomes.refused).toBeGreaterThan(1_000);
  });
});
