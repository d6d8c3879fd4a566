import { appendFile, cp, mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { entry, rawSafetensors } from '../../../test/rawSafetensors.ts';
import { LlmoptError } from '../../errors.ts';
import { openSafetensors } from './open.ts';
import { writeSafetensors } from './write.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-safetensors-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
});

const ramp = (length: number, from = 0) => Float32Array.from({ length }, (_, index) => from + index);
const index = (map: unknown) => JSON.stringify({ metadata: { total_size: 1 }, weight_map: map });

/** Two shards, `a` and `b` in the first, `c` in the second, and their index. */
async function writeShards(into: string): Promise<string> {
  await mkdir(into, { recursive: true });
  await writeSafetensors(join(into, 'model-00001-of-00002.safetensors'), {
    a: { shape: [3, 2], type: 'F32', data: ramp(6) },
    b: { shape: [2], type: 'BF16', data: ramp(2, 10) },
  });
  await writeSafetensors(join(into, 'model-00002-of-00002.safetensors'), {
    c: { shape: [2, 2], type: 'F16', data: ramp(4, 20) },
  });
  const path = join(into, 'model.safetensors.index.json');
  await writeFile(
    path,
    index({
      a: 'model-00001-of-00002.safetensors',
      b: 'model-00001-of-00002.safetensors',
      c: 'model-00002-of-00002.safetensors',
    }),
  );
  return path;
}

describe('openSafetensors', () => {
  it('reads any range of rows as a part of the whole tensor, of every type', async () => {
    const path = join(folder, 'x.safetensors');
    const types = ['F32', 'F16', 'BF16'] as const;
    await writeSafetensors(
      path,
      Object.fromEntries(types.map((type) => [type, { shape: [40, 3], type, data: ramp(120) }])),
    );
    const file = await openSafetensors(path, { cacheDir: false });
    const range = fc.tuple(fc.nat(40), fc.nat(40)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...types), range, async (type, [from, to]) => {
        expect(await file.read(type, [from, to])).toEqual(ramp((to - from) * 3, from * 3));
      }),
      { numRuns: 100 },
    );
    await file.close();
  });

  it('reads float bits as they are', async () => {
    const path = join(folder, 'x.safetensors');
    const data = Buffer.from('000080ff0000803f01000000003c017cff7b803f0180807f', 'hex');
    const header = { f: entry('F32', [3], 0, 12), h: entry('F16', [3], 12, 18), b: entry('BF16', [3], 18, 24) };
    await writeFile(path, rawSafetensors(header, data));
    const file = await openSafetensors(path);
    expect([...(await file.read('f'))]).toEqual([-Infinity, 1, 2 ** -149]);
    expect([...(await file.read('h'))]).toEqual([1, Number.NaN, 65_504]);
    // 0x8001 is the second least negative number of bfloat16.
    expect([...(await file.read('b'))]).toEqual([1, -(2 ** -133), Infinity]);
    await file.close();
  });

  it('reads scalars and tensors of nothing', async () => {
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, {
      scalar: { shape: [], type: 'F32', data: ramp(1, 7) },
      empty: { shape: [0, 3], type: 'F32', data: ramp(0) },
      flat: { shape: [3, 0], type: 'F32', data: ramp(0) },
    });
    const file = await openSafetensors(path);
    expect([...(await file.read('scalar'))]).toEqual([7]);
    expect([...(await file.read('scalar', [0, 1]))]).toEqual([7]);
    expect(await file.read('empty')).toHaveLength(0);
    expect(await file.read('flat', [1, 3])).toHaveLength(0);
    await file.close();
  });

  it('refuses a type that it cannot read when the tensor is asked for, and names it', async () => {
    const path = join(folder, 'x.safetensors');
    await writeFile(path, rawSafetensors({ ids: entry('I64', [1], 0, 8), f: entry('F32', [1], 8, 12) }, 12));
    const file = await openSafetensors(path);
    expect([...(await file.read('f'))]).toEqual([0]);
    await expect(file.read('ids')).rejects.toMatchObject({
      code: 'LLMOPT_SAFETENSORS_UNSUPPORTED',
      message: expect.stringMatching(/Tensor "ids" of .* is of the type I64.*F32, F16, BF16/),
    });
    await expect(file.read('no')).rejects.toMatchObject({ code: 'LLMOPT_TENSOR_MISSING' });
    for (const rows of [
      [-1, 0],
      [1, 0],
      [0, 2],
      [0, 0.5],
    ] as const) {
      await expect(file.read('f', rows)).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
    }
    await file.close();
    await expect(file.read('f')).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });

  it('notices that a file changed', async () => {
    const path = join(folder, 'x.safetensors');
    await writeSafetensors(path, { a: { shape: [1], type: 'F32', data: ramp(1) } });
    const file = await openSafetensors(path, { cacheDir: false });
    await appendFile(path, 'x');
    await expect(file.read('a')).rejects.toMatchObject({ code: 'LLMOPT_FILE_CHANGED' });
    await expect(file.checksum()).rejects.toMatchObject({ code: 'LLMOPT_FILE_CHANGED' });
    await file.close();
  });

  it('has a checksum that every file and its name count in', async () => {
    const sum = async (path: string) => {
      const file = await openSafetensors(path, { cacheDir: false });
      const checksum = await file.checksum();
      await file.close();
      return checksum;
    };
    await writeShards(folder);
    const first = await sum(folder);
    expect(await sum(folder)).toBe(first);
    const shard = join(folder, 'model-00002-of-00002.safetensors');
    const bytes = await readFile(shard);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(shard, bytes);
    expect(await sum(folder)).not.toBe(first);
  });
});

describe('openSafetensors, shards', () => {
  it('reads each tensor from its shard, by the index or the folder', async () => {
    for (const path of [await writeShards(folder), folder]) {
      const file = await openSafetensors(path);
      expect(file.files).toHaveLength(2);
      expect([...file.tensors.keys()]).toEqual(['a', 'b', 'c']);
      expect([...(await file.read('a', [1, 2]))]).toEqual([2, 3]);
      expect([...(await file.read('b'))]).toEqual([10, 11]);
      expect([...(await file.read('c', [1, 2]))]).toEqual([22, 23]);
      await file.close();
    }
  });

  it('takes the single file where there are both, as transformers does', async () => {
    await writeShards(folder);
    await writeSafetensors(join(folder, 'model.safetensors'), { single: { shape: [1], type: 'F32', data: ramp(1) } });
    const file = await openSafetensors(folder);
    expect([...file.tensors.keys()]).toEqual(['single']);
    await file.close();
  });

  const first = 'model-00001-of-00002.safetensors';
  const broken: [name: string, text: string, code: string, message: string][] = [
    ['no JSON', '{', 'JSON_INVALID', 'cannot be used'],
    ['a list', '[]', 'JSON_INVALID', 'it holds no JSON object'],
    ['no map', '{}', 'SAFETENSORS_INVALID', 'it has no weight_map'],
    ['an empty map', index({}), 'SAFETENSORS_INVALID', 'its weight_map is empty'],
    ['a tensor twice', `{"weight_map":{"a":"${first}","a":"${first}"}}`, 'JSON_INVALID', '"a" appears twice'],
    ['a missing shard', index({ a: 'model-00003-of-00002.safetensors' }), 'FILE_NOT_FOUND', 'model-00003-of-00002'],
    [
      'a tensor that its shard lacks',
      index({ c: first }),
      'SAFETENSORS_INVALID',
      `tensor "c" is in ${first}, which does not`,
    ],
    ['a number for a file', index({ a: 1 }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a file of another kind', index({ a: 'pytorch_model.bin' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a folder above', index({ a: '../outside.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a folder below', index({ a: 'sub/x.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a folder of Windows', index({ a: '..\\outside.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a drive', index({ a: 'c:outside.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['an absolute path', index({ a: '/outside.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
    ['a zero byte', index({ a: 'x\0.safetensors' }), 'SAFETENSORS_INVALID', 'no file beside it'],
  ];
  it.each(broken)('refuses an index with %s', async (_, text, code, message) => {
    await writeSafetensors(join(root, 'outside.safetensors'), { a: { shape: [1], type: 'F32', data: ramp(1) } });
    await writeFile(await writeShards(folder), text);
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: `LLMOPT_${code}`,
      message: expect.stringContaining(message),
    });
  });

  it('says what a folder lacks, and refuses a shard that is cut', async () => {
    await expect(openSafetensors(folder)).rejects.toMatchObject({
      code: 'LLMOPT_FILE_NOT_FOUND',
      message: expect.stringContaining('has neither model.safetensors nor model.safetensors.index.json'),
    });
    await expect(openSafetensors(join(folder, 'no.safetensors'))).rejects.toMatchObject({
      code: 'LLMOPT_FILE_NOT_FOUND',
    });
    await writeShards(folder);
    await truncate(join(folder, first), 100);
    await expect(openSafetensors(folder)).rejects.toMatchObject({ code: 'LLMOPT_SAFETENSORS_INVALID' });
  });

  describe('mutated', () => {
    let shared: string;
    beforeAll(async () => {
      shared = join(root, 'mutated');
      await writeShards(shared);
      await cp(join(shared, first), join(root, 'x.safetensors'));
    });

    it('either opens or refuses any mutated index, and allocates no more than its files hold', async () => {
      const path = join(shared, 'model.safetensors.index.json');
      const sound = await readFile(path);
      const at = fc.nat(sound.length);
      const mutation = fc.oneof(
        fc.record({ at, bit: fc.nat(7) }),
        fc.record({
          at,
          length: fc.nat(40),
          text: fc.constantFrom('', '"', '{', '}', '[', '../', '/', '0', 'null', '\\u0000', first, '1e999'),
        }),
        fc.record({ at }),
      );
      // Files of some hundred bytes; a megabyte is what Node needs now and then for itself.
      const most = 1024 * 1024;
      const outcomes = { opened: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 3 }), async (mutations) => {
          let bytes: Buffer = Buffer.from(sound);
          for (const change of mutations) {
            if ('bit' in change) {
              if (change.at < bytes.length) bytes[change.at]! ^= 1 << change.bit;
            } else if ('text' in change) {
              bytes = Buffer.concat([
                bytes.subarray(0, change.at),
                Buffer.from(change.text),
                bytes.subarray(change.at + change.length),
              ]);
            } else if (mutations.length === 1) bytes = bytes.subarray(0, change.at);
          }
          await writeFile(path, bytes);
          const before = process.memoryUsage().arrayBuffers;
          const result = await openSafetensors(path, { cacheDir: false }).catch((error: unknown) => error);
          expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(most);
          if (typeof result === 'object' && result !== null && 'tensors' in result) {
            const file = result as Awaited<ReturnType<typeof openSafetensors>>;
            outcomes.opened++;
            for (const name of file.files) expect(name.startsWith(shared)).toBe(true);
            for (const name of file.tensors.keys()) expect((await file.read(name)).length).toBeGreaterThan(0);
            await file.close();
          } else {
            outcomes.refused++;
            if (!LlmoptError.isInstance(result)) throw result;
            expect(result.code).toMatch(/^LLMOPT_(SAFETENSORS_INVALID|JSON_INVALID|FILE_NOT_FOUND)$/);
          }
        }),
        { numRuns: 5_000 },
      );
      expect(outcomes.opened).toBeGreaterThan(50);
      expect(outcomes.refused).toBeGreaterThan(1_000);
    }, 60_000);
  });
});
