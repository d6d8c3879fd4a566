import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeBF16 } from '../quantize/encode.ts';
import { openSafetensors } from './open.ts';
import { type SafetensorsTensorToWrite, writeSafetensors } from './write.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-write-safetensors-'));
afterAll(() => rm(root, { recursive: true, force: true }));

const one = { shape: [1], type: 'F32', data: Float32Array.of(1) } as const;

describe('writeSafetensors', () => {
  it('writes what is read again, in parts or whole, for any names, shapes and metadata', async () => {
    const path = join(root, 'any.safetensors');
    const tensor = fc.record({
      shape: fc.array(fc.nat(5), { maxLength: 3 }),
      type: fc.constantFrom('F32', 'F16', 'BF16'),
      part: fc.integer({ min: 1, max: 7 }),
    });
    const name = fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed() && text !== '__metadata__');
    const texts = fc.dictionary(name, fc.string());
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(name, tensor)), texts, async (list, metadata) => {
        const values = new Map<string, Float32Array>();
        const tensors = new Map<string, SafetensorsTensorToWrite>();
        for (const [key, { shape, type, part }] of list) {
          // Small whole numbers are the same in every type.
          const data = Float32Array.from(
            { length: shape.reduce((product, size) => product * size, 1) },
            (_, i) => i - 60,
          );
          values.set(key, data);
          tensors.set(key, {
            shape,
            type,
            *data() {
              for (let at = 0; at < data.length; at += part) yield data.subarray(at, at + part);
            },
          });
        }
        await writeSafetensors(path, tensors, metadata);
        const file = await openSafetensors(path, { cacheDir: false });
        expect(file.metadata).toEqual(new Map(Object.entries(metadata)));
        expect(file.tensors.size).toBe(values.size);
        for (const [key, data] of values) {
          expect(file.tensors.get(key)).toMatchObject({ shape: tensors.get(key)!.shape, type: tensors.get(key)!.type });
          expect(await file.read(key)).toEqual(data);
        }
        await file.close();
      }),
      { numRuns: 200 },
    );
  });

  it('aligns every tensor, and says that PyTorch wrote it where nothing else is said', async () => {
    const path = join(root, 'aligned.safetensors');
    await writeSafetensors(path, {
      half: { shape: [1], type: 'F16', data: Float32Array.of(1) },
      single: { shape: [1], type: 'F32', data: Float32Array.of(1) },
      brain: { shape: [1], type: 'BF16', data: Float32Array.of(1) },
    });
    const bytes = await readFile(path);
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect(JSON.parse(bytes.toString('utf8', 8, 8 + length))).toEqual({
      __metadata__: { format: 'pt' },
      single: { dtype: 'F32', shape: [1], data_offsets: [0, 4] },
      half: { dtype: 'F16', shape: [1], data_offsets: [4, 6] },
      brain: { dtype: 'BF16', shape: [1], data_offsets: [6, 8] },
    });
    expect(bytes.subarray(8 + length).toString('hex')).toBe('0000803f003c803f');
  });

  const broken: [name: string, tensors: Record<string, unknown>, message: string][] = [
    ['too few values', { a: { ...one, shape: [2] } }, 'delivered 1 values; its shape [2] asks for 2'],
    ['too many values', { a: { ...one, shape: [0] } }, 'delivered more values; its shape [0] asks for 0'],
    ['an impossible shape', { a: { ...one, shape: [-1] } }, 'the impossible shape [-1]'],
    ['an endless shape', { a: { ...one, shape: [2 ** 40, 2 ** 40] } }, 'the impossible shape'],
    ['another type', { a: { ...one, type: 'I8' } }, 'cannot be written as I8'],
    ['the name of the metadata', { __metadata__: one }, 'No tensor can have the name'],
    [
      'a value that does not fit',
      { a: { ...one, type: 'F16', data: Float32Array.of(1e6) } },
      'Tensor "a" cannot be written',
    ],
  ];
  it.each(broken)('refuses %s and leaves what was there', async (name, tensors, message) => {
    const folder = join(root, name.replaceAll(' ', '-'));
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, { a: one });
    const before = await readFile(path);
    await expect(writeSafetensors(path, tensors as Record<string, SafetensorsTensorToWrite>)).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining(message),
    });
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(['x.safetensors']);
  });

  it('passes on what a producer throws, and says where it cannot write', async () => {
    const path = join(root, 'thrown', 'x.safetensors');
    const data = () => {
      throw new RangeError('no');
    };
    await expect(writeSafetensors(path, { a: { ...one, data } })).rejects.toMatchObject({
      cause: new RangeError('no'),
    });
    await writeFile(join(root, 'file'), '');
    await expect(writeSafetensors(join(root, 'file', 'x'), { a: one })).rejects.toMatchObject({
      code: 'LLMOPT_WRITE_FAILED',
    });
  });
});

describe('encodeBF16', () => {
  it('rounds to the nearest, ties to even, and keeps what is no number', () => {
    const floats = Float32Array.of(
      1,
      1 + 2 ** -8,
      1 + 3 * 2 ** -8,
      1 + 2 ** -8 + 2 ** -20,
      -0,
      Infinity,
      3.4e38,
      Number.NaN,
    );
    const bits = new Uint16Array(encodeBF16(floats).buffer);
    expect([...bits].map((half) => half.toString(16))).toEqual([
      '3f80',
      '3f80',
      '3f82',
      '3f81',
      '8000',
      '7f80',
      '7f80',
      '7fc0',
    ]);
    const almostInfinite = new Float32Array(Uint32Array.of(0x7f80_0001).buffer);
    expect(new Uint16Array(encodeBF16(almostInfinite).buffer)[0]! & 0x7f).not.toBe(0);
  });
});
