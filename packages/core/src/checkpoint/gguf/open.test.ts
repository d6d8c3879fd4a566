import { appendFile, mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { field, rawGguf, tensor, text, u32 } from '../../../test/rawGguf.ts';
import { tinyMerges, writeTinyModel } from '../../../test/tinyModel.ts';
import { openGguf } from './open.ts';

let folder: string;
let tiny: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-open-'));
  tiny = await writeTinyModel(join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}

describe('openGguf', () => {
  it('tells what a model is', async () => {
    const checkpoint = await openGguf(tiny);
    expect(checkpoint.architecture).toBe('llama');
    expect(checkpoint.path).toBe(tiny);
    expect(checkpoint.metadata.get('tokenizer.ggml.merges')).toEqual([...tinyMerges]);
    // Embedding, two layers of four attention and three feed-forward matrices and two norms, the last norm.
    expect(checkpoint.parameters).toBe(287 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128 + 2 * 64) + 64);
    await checkpoint.close();
  });

  it.each(['F32', 'Q8_0'] as const)('reads any range of rows as a part of the whole tensor, %s', async (type) => {
    const checkpoint = await openGguf(await writeTinyModel(join(folder, `${type}.gguf`), { type }));
    const whole = await checkpoint.read('blk.0.ffn_up.weight');
    expect(whole).toHaveLength(128 * 64);
    const range = fc.tuple(fc.nat(128), fc.nat(128)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    await fc.assert(
      fc.asyncProperty(range, async ([from, to]) => {
        expect(await checkpoint.read('blk.0.ffn_up.weight', [from, to])).toEqual(whole.subarray(from * 64, to * 64));
      }),
      { numRuns: 50 },
    );
    await checkpoint.close();
  });

  it('reads rows of a quantised vector that begin within a block', async () => {
    const bytes = rawGguf({
      metadata: [field('general.architecture', 8, text('x'))],
      tensors: [tensor('v', [64], 8, 0)],
    });
    for (let i = 0; i < 64; i++) bytes[bytes.length - 256 + 34 * Math.floor(i / 32) + 2 + (i % 32)] = i;
    for (const block of [0, 34]) bytes.writeUInt16LE(0x3c00, bytes.length - 256 + block);
    const checkpoint = await openGguf(await file('vector.gguf', bytes));
    expect([...(await checkpoint.read('v', [30, 35]))]).toEqual([30, 31, 32, 33, 34]);
    await checkpoint.close();
  });

  it('reads tensors that are larger than the part it reads at once', async () => {
    const bytes = rawGguf({ tensors: [tensor('big', [1024, 3000], 1, 0)], dataBytes: 1024 * 3000 * 2 });
    const start = bytes.length - 1024 * 3000 * 2;
    // float16 bit patterns of row numbers: 1, 2, ... in a column each.
    for (let row = 0; row < 3000; row++) bytes.writeUInt16LE(row, start + row * 2048);
    const checkpoint = await openGguf(await file('big.gguf', bytes));
    const values = await checkpoint.read('big');
    // Bit patterns below 1024 are the multiples of 2^-24.
    for (const row of [0, 1, 500, 1023]) expect(values[row * 1024]).toBe(row * 2 ** -24);
    expect(values[2999 * 1024]).toBeCloseTo(2 ** (2 - 15) * (1 + (2999 - 2048) / 1024), 10);
    expect(await checkpoint.read('big', [2998, 3000])).toEqual(values.subarray(2998 * 1024));
    await checkpoint.close();
  });

  it.each([
    [-1, 2],
    [2, 1],
    [0, 129],
    [0.5, 2],
    [Number.NaN, 2],
  ])('refuses the rows %s to %s', async (from, to) => {
    const checkpoint = await openGguf(tiny);
    await expect(checkpoint.read('blk.0.ffn_up.weight', [from, to])).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
    });
    await checkpoint.close();
  });

  it('names a tensor that is not there', async () => {
    const checkpoint = await openGguf(tiny);
    await expect(checkpoint.read('blk.9.attn_q.weight')).rejects.toMatchObject({
      code: 'LLMOPT_TENSOR_MISSING',
      where: { tensor: 'blk.9.attn_q.weight' },
    });
    await checkpoint.close();
  });

  it('refuses paths that are no readable file', async () => {
    await mkdir(join(folder, 'folder.gguf'), { recursive: true });
    for (const name of ['nothing.gguf', 'folder.gguf', 'tiny.gguf/inside']) {
      await expect(openGguf(join(folder, name))).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
    }
  });

  it('refuses a file that names no architecture', async () => {
    const anonymous = await file('anonymous.gguf', rawGguf({ metadata: [] }));
    await expect(openGguf(anonymous)).rejects.toMatchObject({ code: 'LLMOPT_METADATA_MISSING' });
    const number = await file('number.gguf', rawGguf({ metadata: [field('general.architecture', 4, u32(1))] }));
    await expect(openGguf(number)).rejects.toMatchObject({ code: 'LLMOPT_METADATA_MISSING' });
  });

  it.each([
    ['grew', (path: string) => appendFile(path, 'x')],
    ['was cut', (path: string) => truncate(path, 100)],
    ['was written again', (path: string) => writeFile(path, Buffer.alloc(376_448))],
  ] as const)('notices that the file %s', async (name, change) => {
    const path = await writeTinyModel(join(folder, `${name}.gguf`));
    const checkpoint = await openGguf(path);
    await change(path);
    await expect(checkpoint.read('token_embd.weight')).rejects.toMatchObject({ code: 'LLMOPT_FILE_CHANGED' });
    await expect(checkpoint.checksum()).rejects.toMatchObject({ code: 'LLMOPT_FILE_CHANGED' });
    await checkpoint.close();
  });

  it('does not read after it was closed, and closes twice without complaint', async () => {
    const checkpoint = await openGguf(tiny);
    await checkpoint.close();
    await checkpoint.close();
    await expect(checkpoint.read('token_embd.weight')).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });
});
