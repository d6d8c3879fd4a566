import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { fileChecksum } from './checksum.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-checksum-'));
afterAll(() => rm(root, { recursive: true, force: true }));
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

let cacheDir: string;
let file: string;
beforeEach(async () => {
  const folder = await mkdtemp(join(root, 'case-'));
  cacheDir = join(folder, 'cache');
  file = join(folder, 'model.gguf');
  await writeFile(file, 'first');
});

const list = () => join(cacheDir, 'checksums.json');
const remembered = async () => JSON.parse(await readFile(list(), 'utf8')) as Record<string, { sha256: string }>;

describe('fileChecksum', () => {
  it('computes the sum of an empty file and of one of many parts', async () => {
    await writeFile(file, '');
    expect(await fileChecksum(file, { cacheDir })).toBe(sha256(''));
    const long = 'abcdefgh'.repeat(400_000);
    await writeFile(file, long);
    const progress: number[] = [];
    expect(await fileChecksum(file, { cacheDir, onProgress: (fraction) => progress.push(fraction) })).toBe(
      sha256(long),
    );
    expect(progress.length).toBeGreaterThan(2);
    expect(progress.at(-1)).toBe(1);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  });

  it('answers from memory while size and time stay, and computes again when either changes', async () => {
    await fileChecksum(file, { cacheDir });
    // A planted answer shows where the second one comes from.
    const entries = await remembered();
    entries[file]!.sha256 = 'f'.repeat(64);
    await writeFile(list(), JSON.stringify(entries));
    expect(await fileChecksum(file, { cacheDir })).toBe('f'.repeat(64));

    await utimes(file, new Date(), new Date(Date.now() + 5_000));
    expect(await fileChecksum(file, { cacheDir })).toBe(sha256('first'));

    const { mtime } = await stat(file);
    await writeFile(file, 'a longer one');
    await utimes(file, mtime, mtime);
    expect(await fileChecksum(file, { cacheDir })).toBe(sha256('a longer one'));
    expect(await readdir(cacheDir)).toEqual(['checksums.json']);
  });

  it.each(['{"cut', '[]', 'null', '{"model":3}', '{"__FILE__":{"size":5,"modifiedNs":"1","sha256":"short"}}'])(
    'survives the list %s',
    async (content) => {
      await mkdir(cacheDir, { recursive: true });
      await writeFile(list(), content.replace('__FILE__', file));
      expect(await fileChecksum(file, { cacheDir })).toBe(sha256('first'));
      expect((await remembered())[file]?.sha256).toBe(sha256('first'));
    },
  );

  it('works where nothing can be remembered', async () => {
    await writeFile(cacheDir, 'a file where the folder should be');
    expect(await fileChecksum(file, { cacheDir })).toBe(sha256('first'));
    expect(await fileChecksum(file, { cacheDir: false })).toBe(sha256('first'));
  });

  it('keeps the list short', async () => {
    await mkdir(cacheDir, { recursive: true });
    const entry = { size: 1, modifiedNs: '1', sha256: '0'.repeat(64) };
    await writeFile(
      list(),
      JSON.stringify(Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`/old/${index}`, entry]))),
    );
    await fileChecksum(file, { cacheDir });
    const keys = Object.keys(await remembered());
    expect(keys).toHaveLength(256);
    expect(keys.at(-1)).toBe(file);
  });

  it('refuses what is no file', async () => {
    await expect(fileChecksum(`${file}.not`, { cacheDir })).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
    await mkdir(cacheDir);
    await expect(fileChecksum(cacheDir, { cacheDir })).rejects.toMatchObject({ code: 'LLMOPT_FILE_NOT_FOUND' });
  });

  it('stops at an abort', async () => {
    await expect(fileChecksum(file, { cacheDir, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'LLMOPT_ABORTED',
    });
  });
});
