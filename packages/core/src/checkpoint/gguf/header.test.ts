import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { architecture, field, rawGguf, tensor, text, u32, u64 } from '../../../test/rawGguf.ts';
import { LlmoptError } from '../../errors.ts';
import { type GgufHeader, readHeader } from './header.ts';
import { createPieceReader } from './pieceReader.ts';

/** Reads a header from memory and reports the largest allocation that the reader asked for. */
async function read(bytes: Uint8Array): Promise<{ header: GgufHeader | undefined; error: unknown; largest: number }> {
  let largest = 0;
  const source = {
    path: 'model.gguf',
    size: bytes.length,
    async read(target: Uint8Array, position: number) {
      if (position + target.length > bytes.length) throw new Error('read past the end');
      target.set(bytes.subarray(position, position + target.length));
    },
  };
  const allocate = (size: number) => {
    largest = Math.max(largest, size);
    // A hostile size must fail the test, not the machine.
    if (size > bytes.length) throw new Error(`${size} bytes were asked for`);
    return Buffer.alloc(size);
  };
  try {
    return {
      header: await readHeader(createPieceReader(source, allocate), source.path, source.size),
      error: undefined,
      largest,
    };
  } catch (error) {
    return { header: undefined, error, largest };
  }
}

async function readSound(bytes: Uint8Array): Promise<GgufHeader> {
  const { header, error } = await read(bytes);
  if (!header) throw error;
  return header;
}

const list = (of: number, count: number | bigint, ...elements: Uint8Array[]) =>
  Buffer.concat([u32(of), u64(count), ...elements]);

const everyKind = [
  architecture,
  field('a.uint8', 0, Buffer.of(200)),
  field('a.int8', 1, Buffer.of(0xff)),
  field('a.uint16', 2, Buffer.of(1, 2)),
  field('a.int16', 3, Buffer.of(0xfe, 0xff)),
  field('a.uint32', 4, u32(4_000_000_000)),
  field('a.int32', 5, u32(-5)),
  field('a.float32', 6, u32(0x3f000000)),
  field('a.bool', 7, Buffer.of(1)),
  field('a.strings', 9, list(8, 3, text('x'), text(''), text('Ġé🙂'))),
  field('a.bytes', 9, list(0, 4, Buffer.of(1, 2, 3, 4))),
  field('a.uint64', 10, u64(2 ** 53 - 1)),
  field('a.int64', 11, u64(-3)),
  field('a.float64', 12, u64(0x3ff8000000000000n)),
];
const sound = rawGguf({
  metadata: everyKind,
  tensors: [tensor('matrix', [32, 3], 8, 0), tensor('vector', [8], 0, 128), tensor('cube', [2, 3, 4], 1, 160)],
});

describe('readHeader', () => {
  it('reads every kind of metadata with its type', async () => {
    const { metadata, metadataTypes } = await readSound(sound);
    expect(Object.fromEntries(metadata)).toEqual({
      'general.architecture': 'llama',
      'a.uint8': 200,
      'a.int8': -1,
      'a.uint16': 513,
      'a.int16': -2,
      'a.uint32': 4_000_000_000,
      'a.int32': -5,
      'a.float32': 0.5,
      'a.bool': true,
      'a.strings': ['x', '', 'Ġé🙂'],
      'a.bytes': [1, 2, 3, 4],
      'a.uint64': 2 ** 53 - 1,
      'a.int64': -3,
      'a.float64': 1.5,
    });
    expect(metadataTypes.get('a.strings')).toBe('string[]');
    expect(metadataTypes.get('a.int16')).toBe('int16');
  });

  it('gives shapes slowest dimension first, and positions in the file', async () => {
    const { tensors, version } = await readSound(sound);
    const start = sound.length - 256;
    expect(version).toBe(3);
    expect([...tensors.values()]).toEqual([
      { name: 'matrix', shape: [3, 32], type: 'Q8_0', elements: 96, byteLength: 102, position: start },
      { name: 'vector', shape: [8], type: 'F32', elements: 8, byteLength: 32, position: start + 128 },
      { name: 'cube', shape: [4, 3, 2], type: 'F16', elements: 24, byteLength: 48, position: start + 160 },
    ]);
  });

  it('reads version 2, and an alignment of the file', async () => {
    const bytes = rawGguf({
      version: 2,
      metadata: [architecture, field('general.alignment', 4, u32(64))],
      tensors: [tensor('a', [4], 0, 64)],
      alignment: 64,
    });
    const { tensors, version } = await readSound(bytes);
    expect(version).toBe(2);
    expect(tensors.get('a')?.position).toBe(bytes.length - 256 + 64);
  });

  it('reads headers longer than a piece', async () => {
    const words = Array.from({ length: 60_000 }, (_, index) => `word ${index}`);
    const long = 'y'.repeat(600_000);
    const { metadata } = await readSound(
      rawGguf({
        metadata: [
          architecture,
          field('words', 9, list(8, words.length, ...words.map(text))),
          field('long', 8, text(long)),
        ],
      }),
    );
    expect(metadata.get('words')).toEqual(words);
    expect(metadata.get('long')).toBe(long);
  });

  const broken: [name: string, bytes: Buffer, code: string, message: string][] = [
    ['an empty file', Buffer.alloc(0), 'INVALID', 'the header needs 8 bytes at offset 0, but only 0 are left'],
    ['another format', rawGguf({ magic: 'PK\x03\x04' }), 'INVALID', 'does not start with "GGUF"'],
    ['version 1', rawGguf({ version: 1 }), 'UNSUPPORTED', 'is a GGUF file of version 1'],
    ['a later version', rawGguf({ version: 4 }), 'UNSUPPORTED', 'is a GGUF file of version 4'],
    ['big endian', rawGguf({ version: 0x03000000 }), 'UNSUPPORTED', 'is a big-endian GGUF file'],
    ['too many tensors', rawGguf({ tensorCount: 1_000_000n }), 'INVALID', 'announces 1000000 tensors'],
    [
      'a count that is no safe integer',
      rawGguf({ metadataCount: 2n ** 63n }),
      'INVALID',
      'is 9223372036854775808, which no sensible file holds',
    ],
    ['too many fields', rawGguf({ metadataCount: 1_000n }), 'INVALID', 'announces 1000 metadata fields'],
    [
      'a huge string',
      rawGguf({ metadata: [field('a', 8, u64(2 ** 40))] }),
      'INVALID',
      'metadata field "a" needs 1099511627776 bytes',
    ],
    [
      'a huge list',
      rawGguf({ metadata: [field('a', 9, list(0, 2 ** 50))] }),
      'INVALID',
      'announces 1125899906842624 elements in metadata field "a"',
    ],
    [
      'a list of lists',
      rawGguf({ metadata: [field('a', 9, list(9, 1, list(0, 0)))] }),
      'UNSUPPORTED',
      'has a list of lists in metadata field "a"',
    ],
    [
      'an unknown metadata type',
      rawGguf({ metadata: [field('a', 13, u32(0))] }),
      'INVALID',
      'unknown metadata type 13',
    ],
    ['a boolean of 2', rawGguf({ metadata: [field('a', 7, Buffer.of(2))] }), 'INVALID', 'is a boolean of the value 2'],
    [
      'an unsafe uint64',
      rawGguf({ metadata: [field('a', 10, u64(2n ** 53n))] }),
      'INVALID',
      'metadata field "a" is 9007199254740992',
    ],
    [
      'an unsafe int64',
      rawGguf({ metadata: [field('a', 11, u64(-(2n ** 60n)))] }),
      'INVALID',
      'metadata field "a" is -1152921504606846976',
    ],
    [
      'a field twice',
      rawGguf({ metadata: [architecture, architecture] }),
      'INVALID',
      '"general.architecture" appears twice',
    ],
    [
      'an alignment of 24',
      rawGguf({ metadata: [field('general.alignment', 4, u32(24))] }),
      'INVALID',
      'general.alignment is 24',
    ],
    [
      'an alignment of 0',
      rawGguf({ metadata: [field('general.alignment', 4, u32(0))] }),
      'INVALID',
      'general.alignment is 0',
    ],
    [
      'an alignment beyond the file',
      rawGguf({ metadata: [field('general.alignment', 4, u32(2 ** 31))] }),
      'INVALID',
      'is 2147483648',
    ],
    [
      'a tensor twice',
      rawGguf({ tensors: [tensor('a', [4], 0, 0), tensor('a', [4], 0, 32)] }),
      'INVALID',
      'tensor "a" appears twice',
    ],
    [
      'a tensor of no dimension',
      rawGguf({ tensors: [tensor('a', [], 0, 0), tensor('b', [4], 0, 0)] }),
      'INVALID',
      'has 0 dimensions',
    ],
    ['a tensor of five', rawGguf({ tensors: [tensor('a', [1, 1, 1, 1, 1], 0, 0)] }), 'INVALID', 'has 5 dimensions'],
    ['an empty tensor', rawGguf({ tensors: [tensor('a', [4, 0], 0, 0)] }), 'INVALID', 'the impossible shape [0,4]'],
    [
      'too many elements',
      rawGguf({ tensors: [tensor('a', [2 ** 30, 2 ** 30], 0, 0)] }),
      'INVALID',
      'the impossible shape [1073741824,1073741824]',
    ],
    [
      'an unknown tensor type',
      rawGguf({ tensors: [tensor('a', [4], 99, 0)] }),
      'UNSUPPORTED',
      'holds tensor "a" in the unknown type 99',
    ],
    [
      'an unreadable tensor type',
      rawGguf({ tensors: [tensor('a', [256], 10, 0)] }),
      'UNSUPPORTED',
      'holds tensor "a" in the type Q2_K',
    ],
    [
      'rows that are no whole blocks',
      rawGguf({ tensors: [tensor('a', [33], 8, 0)] }),
      'INVALID',
      'rows of 33 values, but Q8_0 comes in blocks of 32',
    ],
    [
      'a crooked offset',
      rawGguf({ tensors: [tensor('a', [4], 0, 8)] }),
      'INVALID',
      'starts at 8, no multiple of the alignment 32',
    ],
    ['a tensor past the end', rawGguf({ tensors: [tensor('a', [4], 0, 256)] }), 'INVALID', 'tensor "a" ends at byte'],
    [
      'a long tensor name',
      rawGguf({ tensors: [tensor('n'.repeat(2_000), [4], 0, 0)] }),
      'INVALID',
      'a tensor name is 2000 bytes long',
    ],
  ];
  it.each(broken)('refuses %s', async (_, bytes, code, message) => {
    const { error, largest } = await read(bytes);
    expect(error).toBeInstanceOf(LlmoptError);
    expect((error as LlmoptError).code).toBe(`LLMOPT_GGUF_${code}`);
    expect((error as LlmoptError).message).toContain(message);
    expect(largest).toBeLessThanOrEqual(bytes.length);
  });

  it('refuses every truncation of the header and of the last tensor', async () => {
    const lastByte = sound.length - 256 + 160 + 48;
    for (let length = 0; length < lastByte; length++) {
      const { error } = await read(sound.subarray(0, length));
      expect(LlmoptError.isInstance(error) && error.code, `cut at ${length}`).toBe('LLMOPT_GGUF_INVALID');
    }
    expect((await read(sound.subarray(0, lastByte))).header).toBeDefined();
  });

  it('either reads or refuses any mutated file, and never asks for more memory than the file has bytes', async () => {
    const at = fc.nat(sound.length - 257);
    const hostile = fc.constantFrom(
      0n,
      1n,
      0xffn,
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 40n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 63n,
      2n ** 64n - 1n,
    );
    const mutation = fc.oneof(
      fc.record({ kind: fc.constant('flip'), at, bit: fc.nat(7) }),
      fc.record({ kind: fc.constant('byte'), at, value: fc.nat(255) }),
      fc.record({ kind: fc.constant('number'), at, value: hostile }),
      fc.record({ kind: fc.constant('type'), at, type: fc.nat(50) }),
      fc.record({ kind: fc.constant('cut'), at }),
      fc.record({ kind: fc.constant('repeat'), at, length: fc.integer({ min: 1, max: 64 }) }),
    );
    const outcomes = { read: 0, refused: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
        let bytes: Buffer = Buffer.from(sound);
        for (const change of mutations) {
          if (change.at + 8 > bytes.length) continue;
          if ('bit' in change) bytes[change.at]! ^= 1 << change.bit;
          else if ('type' in change) bytes.writeUInt32LE(change.type, change.at);
          else if ('length' in change) {
            bytes = Buffer.concat([bytes.subarray(0, change.at + change.length), bytes.subarray(change.at)]);
          } else if (!('value' in change)) bytes = bytes.subarray(0, change.at);
          else if (typeof change.value === 'bigint') bytes.writeBigUInt64LE(change.value, change.at);
          else bytes[change.at] = change.value;
        }
        const { header, error, largest } = await read(bytes);
        expect(largest).toBeLessThanOrEqual(bytes.length);
        if (header) {
          outcomes.read++;
          for (const { position, byteLength } of header.tensors.values()) {
            expect(position + byteLength).toBeLessThanOrEqual(bytes.length);
          }
        } else {
          outcomes.refused++;
          if (!LlmoptError.isInstance(error)) throw error;
          expect(error.code).toMatch(/^LLMOPT_GGUF_(INVALID|UNSUPPORTED)$/);
        }
      }),
      { numRuns: 4_000 },
    );
    expect(outcomes.read).toBeGreaterThan(100);
    expect(outcomes.refused).toBeGreaterThan(1_000);
  });
});
