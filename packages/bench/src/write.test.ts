import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { assertFileWritable, assertFolderWritable, writeJson } from './write.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-write-'));
});

const failed = (path: string) => ({ code: 'LLMOPT_WRITE_FAILED', message: expect.stringContaining(path) });

describe('the checks before a run', () => {
  it('leave nothing behind', async () => {
    await assertFolderWritable(join(folder, 'a', 'b'));
    await assertFileWritable(join(folder, 'c', 'result.json'));
    expect(await readdir(folder)).toEqual([]);
  });

  it('refuse a folder below a file', async () => {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, 'file', 'plots');
    await expect(assertFolderWritable(path)).rejects.toMatchObject(failed(path));
  });

  it('refuse an output file that is a folder', async () => {
    await expect(assertFileWritable(folder)).rejects.toMatchObject(failed('it is a folder'));
  });
});

describe('writeJson', () => {
  it('creates the folder and leaves one whole file', async () => {
    const path = join(folder, 'deep', 'result.json');
    await writeJson(path, { a: 1 });
    expect(await readFile(path, 'utf8')).toBe('{\n  "a": 1\n}\n');
    expect(await readdir(join(folder, 'deep'))).toEqual(['result.json']);
  });

  it('names the place that cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, 'file', 'result.json');
    await expect(writeJson(path, {})).rejects.toMatchObject(failed(path));
  });
});
