import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { field, rawGguf, tensor, text, u32 } from '../../../test/rawGguf.ts';
import { writeTinyModel } from '../../../test/tinyModel.ts';
import { convertGguf, typedMetadata } from './convert.ts';
import type { TypedMetadata } from './metadataBytes.ts';
import { openGguf } from './open.ts';
import { type TensorToWrite, writeGguf } from './write.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-write-'));
afterAll(() => rm(root, { recursive: true, force: true }));
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
});

const llama = new Map<string, TypedMetadata>([['general.architecture', { type: 'string', value: 'llama' }]]);
const numbers = (name: string, shape: number[], type: TensorToWrite['type'] = 'F32'): TensorToWrite => ({
  name,
  shape,
  type,
  read: async () => Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, index) => index),
});

describe('writeGguf', () => {
  it('writes what openGguf reads, whatever the shapes and the alignment', async () => {
    const shape = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });
    const type = fc.constantFrom('F32', 'F16', 'Q8_0');
    const model = fc.record({
      tensors: fc.array(fc.record({ shape, type }), { maxLength: 6 }),
      alignment: fc.constantFrom(1, 8, 32, 128),
    });
    const path = join(folder, 'any.gguf');
    await fc.assert(
      fc.asyncProperty(model, async ({ tensors, alignment }) => {
        const list = tensors.map(({ shape, type }, index) =>
          numbers(`t${index}`, [...shape.slice(0, 3), 32 * shape[0]!], type as TensorToWrite['type']),
        );
        await writeGguf(path, {
          metadata: new Map([...llama, ['general.alignment', { type: 'uint32', value: alignment }]]),
          tensors: list,
        });
        const checkpoint = await openGguf(path);
        expect([...checkpoint.tensors.keys()]).toEqual(list.map(({ name }) => name));
        for (const { name, shape, type, read } of list) {
          expect(checkpoint.tensors.get(name)).toMatchObject({ shape, type });
          const [written, wanted] = [await checkpoint.read(name), await read()];
          // The numbers are at most as large as the list is long. F16 keeps 11 bits of each; a Q8_0 step is 1/127 of the largest.
          const tolerance = { F32: 0, F16: wanted.length / 2048, Q8_0: wanted.length / 127 }[type];
          expect(wanted.every((value, index) => Math.abs(value - written[index]!) <= tolerance)).toBe(true);
        }
        await checkpoint.close();
      }),
      { numRuns: 30 },
    );
  });

  it('keeps every kind of metadata', async () => {
    const metadata = new Map<string, TypedMetadata>([
      ...llama,
      ['uint8', { type: 'uint8', value: 255 }],
      ['int8', { type: 'int8', value: -128 }],
      ['uint16', { type: 'uint16', value: 65_535 }],
      ['int16', { type: 'int16', value: -32_768 }],
      ['uint32', { type: 'uint32', value: 4_294_967_295 }],
      ['int32', { type: 'int32', value: -2_147_483_648 }],
      ['uint64', { type: 'uint64', value: Number.MAX_SAFE_INTEGER }],
      ['int64', { type: 'int64', value: Number.MIN_SAFE_INTEGER }],
      ['float32', { type: 'float32', value: Math.fround(0.1) }],
      ['float64', { type: 'float64', value: 0.1 }],
      ['bool', { type: 'bool', value: false }],
      ['strings', { type: 'string[]', value: ['a', 'Ġé🙂', ''] }],
      ['numbers', { type: 'float32[]', value: [1.5, -0.25] }],
      ['flags', { type: 'bool[]', value: [true, false] }],
      ['nothing', { type: 'int32[]', value: [] }],
    ]);
    const path = join(folder, 'kinds.gguf');
    await writeGguf(path, { metadata, tensors: [] });
    const checkpoint = await openGguf(path);
    expect(typedMetadata(checkpoint)).toEqual(metadata);
    await checkpoint.close();
  });

  const refused: [name: string, metadata: [string, TypedMetadata][], tensors: TensorToWrite[], message: string][] = [
    ['a number out of range', [['a', { type: 'uint8', value: 256 }]], [], '"a" is of type uint8, but holds 256'],
    ['a fraction in an integer', [['a', { type: 'int32', value: 0.5 }]], [], '"a" is of type int32, but holds 0.5'],
    ['a number for a string', [['a', { type: 'string', value: 1 }]], [], '"a" is of type string, but holds 1'],
    ['a value for a list', [['a', { type: 'string[]', value: 'x' }]], [], '"a" is of type string[], but holds no list'],
    ['an alignment of 3', [['general.alignment', { type: 'uint32', value: 3 }]], [], 'general.alignment is 3'],
    ['two tensors of one name', [], [numbers('t', [4]), numbers('t', [4])], 'two tensors of the name "t"'],
    ['an empty shape', [], [numbers('t', [])], 'impossible shape []'],
    [
      'rows that are no whole blocks',
      [],
      [numbers('t', [2, 33], 'Q8_0')],
      'rows of 33 values, but Q8_0 comes in blocks of 32',
    ],
    [
      'too few values',
      [],
      [{ ...numbers('t', [2, 4]), read: async () => new Float32Array(7) }],
      'delivered 7 values; its shape [2,4] asks for 8',
    ],
    [
      'values beyond F16',
      [],
      [{ ...numbers('t', [1], 'F16'), read: async () => Float32Array.of(1e6) }],
      'Tensor "t" cannot be written: Value 0 is 1000000',
    ],
  ];
  it.each(refused)('refuses %s and leaves nothing behind', async (_, metadata, tensors, message) => {
    const writing = writeGguf(join(folder, 'x.gguf'), { metadata: new Map([...llama, ...metadata]), tensors });
    await expect(writing).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining(message),
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it('leaves the file that was there as it was when a tensor cannot be read', async () => {
    const path = join(folder, 'old.gguf');
    await writeFile(path, 'old');
    const broken = { ...numbers('broken', [4]), read: () => Promise.reject(new Error('no such luck')) };
    await expect(writeGguf(path, { metadata: llama, tensors: [numbers('t', [4]), broken] })).rejects.toThrow(
      'no such luck',
    );
    expect(await readFile(path, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['old.gguf']);
  });

  it('stops at an abort and leaves nothing behind', async () => {
    const controller = new AbortController();
    const abortsHere = {
      ...numbers('t1', [4]),
      read: async () => {
        controller.abort();
        return new Float32Array(4);
      },
    };
    const never = { ...numbers('t2', [4]), read: () => Promise.reject(new Error('was read after the abort')) };
    const writing = writeGguf(
      join(folder, 'x.gguf'),
      { metadata: llama, tensors: [abortsHere, never] },
      { signal: controller.signal },
    );
    await expect(writing).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('says so when the folder cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    await expect(writeGguf(join(folder, 'file', 'x.gguf'), { metadata: llama, tensors: [] })).rejects.toMatchObject({
      code: 'LLMOPT_WRITE_FAILED',
    });
  });
});

describe('convertGguf', () => {
  it('copies a model: matrices in the new type, vectors in F32, all metadata but the file type', async () => {
    const source = await openGguf(await writeTinyModel(join(folder, 'source.gguf'), { untied: true }));
    const progress: number[] = [];
    await convertGguf(source, join(folder, 'copy.gguf'), 'Q8_0', { onProgress: (fraction) => progress.push(fraction) });
    const copy = await openGguf(join(folder, 'copy.gguf'));
    expect(typedMetadata(copy)).toEqual(typedMetadata(source).set('general.file_type', { type: 'uint32', value: 7 }));
    expect([...copy.tensors.keys()]).toEqual([...source.tensors.keys()]);
    for (const { name, shape, type } of copy.tensors.values()) {
      expect(type, name).toBe(shape.length === 1 ? 'F32' : 'Q8_0');
      const [before, after] = [await source.read(name), await copy.read(name)];
      // Half a step of the largest value of the tensor, which is at least that of the block.
      const tolerance = type === 'F32' ? 0 : (Math.max(...before.map(Math.abs)) / 127) * 0.6;
      expect(after.every((value, index) => Math.abs(value - before[index]!) <= tolerance)).toBe(true);
    }
    expect(progress).toHaveLength(copy.tensors.size);
    expect(progress.at(-1)).toBe(1);
    await source.close();
    await copy.close();
  });

  it('falls back to F16 for matrices whose rows are no whole blocks', async () => {
    const bytes = rawGguf({
      metadata: [field('general.architecture', 8, text('x')), field('general.alignment', 4, u32(32))],
      tensors: [tensor('odd', [6, 2], 0, 0), tensor('even', [32, 1], 0, 64), tensor('vector', [32], 0, 64)],
    });
    bytes.writeFloatLE(0.375, bytes.length - 256);
    await writeFile(join(folder, 'odd.gguf'), bytes);
    const source = await openGguf(join(folder, 'odd.gguf'));
    await convertGguf(source, join(folder, 'copy.gguf'), 'Q8_0');
    const copy = await openGguf(join(folder, 'copy.gguf'));
    expect([...copy.tensors.values()].map(({ name, type }) => [name, type])).toEqual([
      ['odd', 'F16'],
      ['even', 'Q8_0'],
      ['vector', 'F32'],
    ]);
    expect((await copy.read('odd'))[0]).toBe(0.375);
    await source.close();
    await copy.close();
  });

  it('refuses a type that cannot be written', async () => {
    const source = await openGguf(await writeTinyModel(join(folder, 'source.gguf')));
    await expect(convertGguf(source, join(folder, 'copy.gguf'), 'Q4_K' as 'F32')).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
    });
    await source.close();
  });
});
