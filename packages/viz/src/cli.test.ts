import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { twoArms } from '../test/results.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-viz-cli-'));
});
afterEach(() => rm(folder, { recursive: true }));

const cli = (...args: string[]) =>
  promisify(execFile)(process.execPath, [path.join(import.meta.dirname, '../dist/cli.js'), ...args], { cwd: folder });

it('draws a result file', async () => {
  await writeFile(path.join(folder, 'result.json'), JSON.stringify(twoArms()));
  const { stdout } = await cli('--input', 'result.json', '--output', 'plots');
  expect(stdout.trim().split('\n')).toHaveLength(10);
  expect(await readdir(path.join(folder, 'plots'))).toHaveLength(10);
});

it.each([
  ['no file', undefined, /cannot be read/],
  ['no JSON', '{', /result\.json: /],
  ['no result', '{"schemaVersion": 1}', /createdAt/],
])('with %s says so, exits with 1 and writes nothing', async (_, content, message) => {
  if (content !== undefined) await writeFile(path.join(folder, 'result.json'), content);
  await expect(cli('--input', 'result.json')).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(message),
  });
  expect(await readdir(folder)).toEqual(content === undefined ? [] : ['result.json']);
});
