import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { content, entry, sendAll, sha256, startHub } from '../../../test/fakeHub.ts';
import type { Progress } from '../../pipeline/types.ts';
import type { CatalogEntry } from './catalog.ts';
import { parseHubName } from './names.ts';
import { type ResolveOptions, resolveModel } from './resolve.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-resolve-'));
afterAll(() => rm(root, { recursive: true, force: true }));

let cacheDir: string;
let hub: Awaited<ReturnType<typeof startHub>> | undefined;
let requests: readonly string[];

beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  hub = undefined;
  requests = [];
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await hub?.stop();
});

const get = (models: Record<string, CatalogEntry>, options: ResolveOptions = {}) =>
  resolveModel('tiny', { cacheDir, models, ...options });

/** Everything in the cache folder, folders included. */
const cached = async () => (await readdir(cacheDir, { recursive: true })).toSorted();

async function serve(listener: RequestListener): Promise<void> {
  hub = await startHub(listener);
  requests = hub.requests;
}

describe('resolveModel, names', () => {
  it('takes a path as it is', async () => {
    const path = join(cacheDir, 'mine.gguf');
    await writeFile(path, 'x');
    expect(await resolveModel(path, { cacheDir })).toBe(path);
  });

  it.each([
    'no-such-model',
    '',
    'constructor',
    './nowhere/model.gguf',
    '/nowhere/model.gguf',
    'a/b/../model.gguf',
    '../b/model.gguf',
  ])('says what is known instead of "%s"', async (name) => {
    await expect(resolveModel(name, { cacheDir })).rejects.toMatchObject({
      code: 'LLMOPT_MODEL_NOT_FOUND',
      message: expect.stringMatching(
        /Known names: .*smollm2-135m.*path of a GGUF file or of a folder with safetensors works too/,
      ),
    });
    expect(await cached()).toEqual([]);
  });

  it.each([
    ['owner/repo/model.gguf', { repo: 'owner/repo', revision: 'main', file: 'model.gguf' }],
    ['owner/repo@v1.0/sub/model.gguf', { repo: 'owner/repo', revision: 'v1.0', file: 'sub/model.gguf' }],
    ['owner/repo', { repo: 'owner/repo', revision: 'main', file: undefined }],
    ['owner/Repo-0.5B@v1.0', { repo: 'owner/Repo-0.5B', revision: 'v1.0', file: undefined }],
    ['owner/repo/model.bin', undefined],
    ['owner', undefined],
    ['owner/', undefined],
    ['owner/repo/', undefined],
    ['owner/repo@', undefined],
    ['owner/model.gguf', undefined],
    ['owner/re--po/model.gguf', undefined],
    ['owner/repo@a@b/model.gguf', undefined],
    ['owner/repo/.hidden.gguf', undefined],
  ])('reads the hub name %s', (name, file) => {
    expect(parseHubName(name)).toEqual(file);
  });
});

describe('resolveModel, hub', () => {
  it('downloads once, with progress, and then answers from the cache', async () => {
    await serve(sendAll);
    const progress: Progress[] = [];
    const path = await get({ tiny: entry }, { onProgress: (step) => progress.push(step) });
    expect(path).toBe(join(cacheDir, 'models', 'model.gguf'));
    expect(await readFile(path)).toEqual(content);
    expect(requests).toEqual(['/owner/repo/resolve/main/model.gguf']);
    expect(progress.at(-1)).toEqual({ stage: 'download', fraction: 1, detail: 'tiny' });
    expect(progress.map(({ fraction }) => fraction)).toEqual(
      progress.map(({ fraction }) => fraction).toSorted((a, b) => a - b),
    );

    expect(await get({ tiny: entry })).toBe(path);
    expect(requests).toHaveLength(1);
    expect(await cached()).toEqual(['checksums.json', 'models', 'models/model.gguf']);
  });

  it('follows redirects', async () => {
    await serve((request, response) => {
      if (request.url === '/elsewhere') sendAll(request, response);
      else response.writeHead(302, { location: '/elsewhere' }).end();
    });
    expect(await readFile(await get({ tiny: entry }))).toEqual(content);
    expect(requests).toEqual(['/owner/repo/resolve/main/model.gguf', '/elsewhere']);
  });

  it('replaces a file in the cache that is not what it should be', async () => {
    await serve(sendAll);
    await mkdir(join(cacheDir, 'models'));
    await writeFile(join(cacheDir, 'models', 'model.gguf'), Buffer.alloc(content.length));
    expect(await readFile(await get({ tiny: entry }))).toEqual(content);
  });

  const otherContent = Buffer.from(content).fill(0, 1_000, 1_001);
  const broken: [name: string, listener: RequestListener, code: string, message: string][] = [
    ['a 404', (_, response) => response.writeHead(404).end('no'), 'LLMOPT_MODEL_NOT_FOUND', 'answered 404 Not Found'],
    ['a 503', (_, response) => response.writeHead(503).end('no'), 'LLMOPT_DOWNLOAD_FAILED', 'answered 503 Service'],
    [
      'a redirect to no host',
      (_, response) => response.writeHead(302, { location: 'data:,x' }).end(),
      'LLMOPT_DOWNLOAD_FAILED',
      'redirects to "data:,x"',
    ],
    [
      'a page instead of a file',
      (_, response) => response.writeHead(200).end('<html>'),
      'LLMOPT_DOWNLOAD_FAILED',
      'it ended after 6 of 300000 bytes',
    ],
    [
      'another size',
      (_, response) => response.writeHead(200, { 'content-length': 5 }).end('12345'),
      'LLMOPT_CHECKSUM_MISMATCH',
      '5 bytes instead of 300000',
    ],
    [
      'more than was asked for',
      (_, response) => {
        response.writeHead(200).write(content);
        response.end('more');
      },
      'LLMOPT_CHECKSUM_MISMATCH',
      'it goes on after 300000 bytes',
    ],
    [
      'a wrong checksum',
      (_, response) => response.writeHead(200).end(otherContent),
      'LLMOPT_CHECKSUM_MISMATCH',
      `instead of ${sha256}`,
    ],
    [
      'a cut connection',
      (_, response) => {
        response
          .writeHead(200, { 'content-length': content.length })
          .write(content.subarray(0, 100_000), () => response.destroy());
      },
      'LLMOPT_DOWNLOAD_FAILED',
      'terminated',
    ],
    [
      'endless redirects',
      (_, response) => response.writeHead(302, { location: '/again' }).end(),
      'LLMOPT_DOWNLOAD_FAILED',
      'more than 5 redirects',
    ],
    ['a host that does not answer', () => {}, 'LLMOPT_DOWNLOAD_FAILED', 'did not answer for 0.15 s'],
    [
      'a host that stops in the middle',
      (_, response) =>
        response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 100_000)),
      'LLMOPT_DOWNLOAD_FAILED',
      'stopped sending for 0.3 s',
    ],
  ];
  it.each(broken)(
    'refuses %s and leaves nothing but a beginning to go on with, and the next try is clean',
    async (_, listener, code, message) => {
      let isBroken = true;
      await serve((request, response) => (isBroken ? listener : sendAll)(request, response));
      // Short only where a timeout is what is tested: a busy machine may take its time to answer.
      const timeouts = { connectTimeoutMs: message.includes('answer for') ? 150 : 3_000, stallTimeoutMs: 300 };
      const failure = get({ tiny: entry }, message.includes(' for 0.') ? timeouts : {});
      await expect(failure).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
      // What the start of the file may be is kept under its checksum.
      const partial = `models/model.gguf.${sha256.slice(0, 16)}.partial`;
      expect([[partial], []]).toContainEqual((await cached()).slice(1));
      isBroken = false;
      expect(await readFile(await get({ tiny: entry }))).toEqual(content);
      expect(await cached()).toEqual(['models', 'models/model.gguf']);
    },
  );

  it('fails at once where nobody listens', async () => {
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9');
    await expect(get({ tiny: entry })).rejects.toMatchObject({ code: 'LLMOPT_DOWNLOAD_FAILED' });
    expect(await cached()).toEqual(['models']);
  });

  it.each([true, false])('stops at an abort (before the start: %s) and keeps what came', async (before) => {
    const controller = new AbortController();
    await serve((_, response) => {
      response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 100_000));
      setTimeout(() => controller.abort(), 20);
    });
    if (before) controller.abort();
    await expect(get({ tiny: entry }, { signal: controller.signal })).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect((await cached()).slice(1)).toEqual(before ? [] : [`models/model.gguf.${sha256.slice(0, 16)}.partial`]);
  });

  it('downloads once for two callers', async () => {
    await serve((request, response) => setTimeout(() => sendAll(request, response), 50));
    const [first, second] = await Promise.all([get({ tiny: entry }), get({ tiny: entry })]);
    expect(first).toBe(second);
    expect(requests).toHaveLength(1);
  });

  it('takes over what a process that died has left', async () => {
    await serve(sendAll);
    const models = join(cacheDir, 'models');
    await mkdir(join(models, 'model.gguf.0123.part'), { recursive: true });
    await writeFile(join(models, 'model.gguf.0123.part', 'complete'), 'half a fi');
    // No process has a number above the kernel's limit of 2^22.
    await writeFile(join(models, 'model.gguf.lock'), JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), id: 'x' }));
    expect(await readFile(await get({ tiny: entry }))).toEqual(content);
    expect(await cached()).toEqual(['models', 'models/model.gguf']);
  });

  it('waits for a process that lives until it is aborted', async () => {
    await serve(sendAll);
    await mkdir(join(cacheDir, 'models'));
    await writeFile(
      join(cacheDir, 'models', 'model.gguf.lock'),
      JSON.stringify({ pid: process.ppid, host: hostname(), id: 'x' }),
    );
    await expect(get({ tiny: entry }, { signal: AbortSignal.timeout(250) })).rejects.toMatchObject({
      code: 'LLMOPT_ABORTED',
    });
    expect(requests).toEqual([]);
  });

  it('says so when the cache cannot be written', async () => {
    await writeFile(join(cacheDir, 'models'), 'a file where the folder should be');
    await expect(get({ tiny: entry })).rejects.toMatchObject({ code: 'LLMOPT_WRITE_FAILED' });
  });

  it('gets any file of the hub, checked against the sum that the hub names', async () => {
    let etag = sha256;
    await serve((request, response) => {
      if (request.url!.startsWith('/cdn')) sendAll(request, response);
      else response.writeHead(302, { location: '/cdn', 'x-linked-etag': `"${etag}"` }).end();
    });
    const path = await resolveModel('owner/repo@v2/sub/model.gguf', { cacheDir });
    expect(requests[0]).toBe('/owner/repo/resolve/v2/sub/model.gguf');
    expect(await readFile(path)).toEqual(content);
    expect(await resolveModel('owner/repo@v2/sub/model.gguf', { cacheDir })).toBe(path);
    expect(requests).toHaveLength(2);

    etag = '0'.repeat(64);
    await expect(resolveModel('owner/repo/model.gguf', { cacheDir })).rejects.toMatchObject({
      code: 'LLMOPT_CHECKSUM_MISMATCH',
    });
    expect(await readdir(join(cacheDir, 'models'))).toEqual(['owner--repo--v2--sub%2Fmodel.gguf']);
  });

  it('says that there is no local file when the hub has none', async () => {
    await serve((_, response) => response.writeHead(404).end());
    await expect(resolveModel('some/relative/path.gguf', { cacheDir })).rejects.toMatchObject({
      code: 'LLMOPT_MODEL_NOT_FOUND',
      message: expect.stringContaining('There is no local file or folder of this name'),
    });
  });
});
