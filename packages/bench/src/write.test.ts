import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchmarkResult } from '@llmopt/schema';
import { beforeEach, describe, expect, it } from 'vitest';
import { fakeRecord } from '../test/fakeRecord.ts';
import { assembleResult } from './result.ts';
import { assertFileWritable, assertFolderWritable, writeResult } from './write.ts';

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

describe('writeResult', () => {
  const result = assembleResult(fakeRecord(), { incomplete: false }) as BenchmarkResult;

  it('creates the folder and leaves one whole file', async () => {
    const path = join(folder, 'deep', 'result.json');
    await writeResult(path, result);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(JSON.parse(JSON.stringify(result)));
    expect(await readdir(join(folder, 'deep'))).toEqual(['result.json']);
  });

  it('names the place that cannot be written', async () => {
    await writeFile(join(folder, 'file'), '');
    const path = join(folder, 'file', 'result.json');
    await expect(writeResult(path, result)).rejects.toMatchObject(failed(path));
  });

  it('refuses what does not follow the schema and leaves nothing', async () => {
    const path = join(folder, 'result.json');
    await expect(writeResult(path, { ...result, arms: 3 } as never)).rejects.toMatchObject({
      code: 'LLMOPT_RESULT_INVALID',
    });
    expect(await readdir(folder)).toEqual([]);
  });
});
