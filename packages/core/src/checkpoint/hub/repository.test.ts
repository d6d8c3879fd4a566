import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { content, sha256 } from '../../../test/fakeHub.ts';
import { type RepositoryHub, sendBytes, startRepositoryHub } from '../../../test/repositoryHub.ts';
import type { Progress } from '../../pipeline/types.ts';
import { type ResolveOptions, resolveModel } from './resolve.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-repository-'));
afterAll(() => rm(root, { recursive: true, force: true }));

const token = 'secret-token-of-mine';
const weights = Buffer.concat([content, Buffer.from('weights')]);
const single = {
  'README.md': 'not needed',
  'config.json': '{"model_type":"llama"}',
  'model.safetensors': weights,
  'onnx/model.onnx': content,
  'pytorch_model.bin': content,
  'tokenizer.json': JSON.stringify({ long: 'x'.repeat(2_000) }),
  'tokenizer_config.json': '{}',
};
const index = (map: Record<string, string>) => JSON.stringify({ weight_map: map });
const sharded = {
  'config.json': '{"model_type":"llama"}',
  'model-00001-of-00002.safetensors': content,
  'model-00002-of-00002.safetensors': weights,
  'model.safetensors.index.json': index({
    a: 'model-00001-of-00002.safetensors',
    b: 'model-00002-of-00002.safetensors',
  }),
};
const needed = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

let cacheDir: string;
let hub: RepositoryHub;

beforeEach(async () => {
  cacheDir = await mkdtemp(join(root, 'cache-'));
  hub = await startRepositoryHub({ ...single });
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_TOKEN', '');
  vi.stubEnv('HF_HUB_OFFLINE', '');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.stop();
});

const get = (name = 'owner/repo', options: ResolveOptions = {}) => resolveModel(name, { cacheDir, ...options });
const cached = async () => (await readdir(join(cacheDir, 'models'), { recursive: true })).toSorted();
const asked = (path: RegExp) => hub.requests.filter((request) => path.test(request.path));

/** Time for what was sent to arrive: a connection that is cut at once loses it. */
const settleMs = 100;

/** Cuts the connection `times` times in the middle of an answer that matches, after `bytes` bytes of what was asked for. */
function cut(path: RegExp, bytes: number, times = Number.POSITIVE_INFINITY) {
  hub.interfere = (request: IncomingMessage, response: ServerResponse) => {
    if (!path.test(request.url!) || times-- <= 0) return false;
    const from = Number(request.headers.range?.match(/^bytes=(\d+)-/)?.[1] ?? 0);
    const status = from > 0 ? 206 : 200;
    const range = { 'content-range': `bytes ${from}-${weights.length - 1}/${weights.length}` };
    response
      .writeHead(status, { 'content-length': weights.length - from, ...(from > 0 ? range : {}) })
      .write(weights.subarray(from, from + bytes), () => setTimeout(() => response.destroy(), settleMs));
    return true;
  };
}
const cdnPath = /\?signed$/;

describe('resolveModel, a repository', () => {
  it('gets the needed files of one commit, with progress, and then answers without the hub', async () => {
    const progress: Progress[] = [];
    const folder = await get('owner/repo@v1', { onProgress: (step) => progress.push(step) });
    expect(folder).toBe(join(cacheDir, 'models', 'owner--repo--v1'));
    expect(await cached()).toEqual(
      [
        'owner--repo--v1',
        ...['config.json', 'llmopt.json', ...needed.slice(1)].map((name) => `owner--repo--v1/${name}`),
      ].toSorted(),
    );
    for (const name of needed)
      expect(await readFile(join(folder, name))).toEqual(Buffer.from(single[name as 'config.json']));
    const resolved = asked(/\/resolve\//).map(({ path }) => path);
    expect(resolved.toSorted()).toEqual(needed.map((name) => `/owner/repo/resolve/${hub.commit}/${name}`).toSorted());
    expect(progress.at(-1)).toEqual({ stage: 'download', fraction: 1, detail: 'owner/repo@v1' });
    const fractions = progress.map(({ fraction }) => fraction);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));

    const count = hub.requests.length;
    hub.commit = 'b'.repeat(40);
    expect(await get('owner/repo@v1')).toBe(folder);
    expect(hub.requests).toHaveLength(count);
  });

  it('gets an index and its shards', async () => {
    hub.files = { ...sharded, 'model-00009-of-00009.safetensors': content };
    const folder = await get();
    expect((await readdir(folder)).toSorted()).toEqual([...Object.keys(sharded), 'llmopt.json'].toSorted());
  });

  it('takes a commit for what it is, and looks only for its files', async () => {
    await get(`owner/repo@${hub.commit}`);
    expect(asked(/\/revision\//)).toEqual([]);
    expect(asked(/\/tree\//)).toHaveLength(1);
  });

  it('sends the token to the hub alone', async () => {
    hub.token = token;
    vi.stubEnv('HF_TOKEN', ` ${token}\n`);
    await get();
    const hosts = Map.groupBy(hub.requests, ({ host }) => host);
    expect(hosts.get('hub')!.every(({ authorization }) => authorization === `Bearer ${token}`)).toBe(true);
    expect(hosts.get('cdn')!.length).toBeGreaterThan(0);
    expect(hosts.get('cdn')!.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('follows the hub through pages of its listing, with the token only while they are its own', async () => {
    hub.token = token;
    vi.stubEnv('HF_TOKEN', token);
    hub.interfere = (request, response) => {
      if (!request.url!.includes('/tree/')) return false;
      response.writeHead(200, { link: `<${hub.cdn}/next>; rel="next"` }).end('[]');
      return true;
    };
    await expect(get()).rejects.toMatchObject({ code: 'LLMOPT_DOWNLOAD_FAILED' });
    expect(asked(/^\/next/)).toEqual([{ host: 'cdn', path: '/next' }]);
  });

  it('downloads once for two callers', async () => {
    expect(await Promise.all([get(), get()])).toHaveLength(2);
    expect(asked(/\/tree\//)).toHaveLength(1);
    expect(asked(cdnPath)).toHaveLength(2);
  });
});

describe('resolveModel, a repository, cut connections', () => {
  it('goes on where it was cut, within one call', async () => {
    cut(cdnPath, 100_000, 2);
    hub.files = { 'config.json': '{}', 'model.safetensors': weights };
    const folder = await get();
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(weights);
    const starts = asked(cdnPath).map(({ range }) => Number(range?.match(/^bytes=(\d+)-$/)?.[1] ?? 0));
    expect(starts).toHaveLength(3);
    expect(starts[1]).toBeGreaterThan(0);
    expect(starts[2]).toBeGreaterThan(starts[1]!);
  });

  it('goes on with the next call, and only then is the file there', async () => {
    hub.files = { 'config.json': '{}', 'model.safetensors': weights };
    let cuts = 0;
    cut(cdnPath, 100_000, 1);
    const once = hub.interfere;
    hub.interfere = (request, response) => {
      if (!cdnPath.test(request.url!)) return false;
      if (cuts++ === 0) return once(request, response);
      response.writeHead(503).end();
      return true;
    };
    await expect(get()).rejects.toMatchObject({
      code: 'LLMOPT_DOWNLOAD_FAILED',
      message: expect.stringContaining('503'),
    });
    const left = (await readdir(join(cacheDir, 'models', 'owner--repo--main'))).toSorted();
    expect(left).toEqual([
      'config.json',
      'llmopt.json',
      expect.stringMatching(/^model\.safetensors\.[0-9a-f]{16}\.partial$/),
    ]);

    hub.requests.length = 0;
    hub.interfere = () => false;
    const folder = await get();
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(weights);
    expect((await readdir(folder)).toSorted()).toEqual(['config.json', 'llmopt.json', 'model.safetensors']);
    // No more than what was lacking: no listing, no config.json, and of the weights the rest.
    expect(hub.requests).toEqual(
      [
        { host: 'hub', path: `/owner/repo/resolve/${hub.commit}/model.safetensors`, range: undefined },
        { host: 'cdn', path: expect.stringMatching(cdnPath), range: expect.stringMatching(/^bytes=[1-9]\d*-$/) },
      ].map(({ range, ...request }) => (range ? { ...request, range } : request)),
    );
  });

  it('stays with its commit when the branch moves on meanwhile', async () => {
    hub.interfere = (request, response) => cdnPath.test(request.url!) && Boolean(response.destroy());
    await expect(get()).rejects.toMatchObject({ code: 'LLMOPT_DOWNLOAD_FAILED' });
    hub.interfere = () => false;
    const first = hub.commit;
    hub.commit = 'b'.repeat(40);
    const folder = await get();
    expect(JSON.parse(await readFile(join(folder, 'llmopt.json'), 'utf8'))).toMatchObject({
      commit: first,
      revision: 'main',
    });
    expect(asked(/\/resolve\//).every(({ path }) => path.includes(first))).toBe(true);
  });

  it('begins anew where the server knows no ranges, and gives up when it gets no further', async () => {
    hub.files = { 'config.json': '{}', 'model.safetensors': weights };
    let count = 0;
    hub.interfere = (request, response) => {
      if (!cdnPath.test(request.url!)) return false;
      const length = count++ < 2 ? 100_000 * count : weights.length;
      response.writeHead(200, { 'content-length': weights.length }).write(weights.subarray(0, length), () => {
        if (length < weights.length) setTimeout(() => response.destroy(), settleMs);
        else response.end();
      });
      return true;
    };
    expect(await readFile(join(await get(), 'model.safetensors'))).toEqual(weights);
    expect(count).toBe(3);

    await rm(cacheDir, { recursive: true });
    hub.requests.length = 0;
    hub.interfere = (request, response) => {
      if (!cdnPath.test(request.url!)) return false;
      response
        .writeHead(200, { 'content-length': weights.length })
        .write(weights.subarray(0, 50_000), () => setTimeout(() => response.destroy(), settleMs));
      return true;
    };
    await expect(get()).rejects.toMatchObject({ code: 'LLMOPT_DOWNLOAD_FAILED' });
    expect(asked(cdnPath)).toHaveLength(2);
  });

  it('throws away a beginning that was of something else', async () => {
    hub.files = { 'config.json': '{}', 'model.safetensors': weights };
    const folder = await get();
    const partial = `model.safetensors.${createHash('sha256').update(weights).digest('hex').slice(0, 16)}.partial`;
    const longer = Buffer.concat([weights, weights]);
    for (const bytes of [Buffer.alloc(100_000, 1), longer, weights]) {
      await rm(join(folder, 'model.safetensors'));
      await writeFile(join(folder, partial), bytes);
      expect(await readFile(join(await get(), 'model.safetensors'))).toEqual(weights);
    }
    // What is complete already is not sent again.
    expect(asked(cdnPath).at(-1)).toMatchObject({ range: `bytes=${weights.length}-` });
    expect((await readdir(folder)).toSorted()).toEqual(['config.json', 'llmopt.json', 'model.safetensors']);
  });

  it('goes on with a file that the hub sends itself', async () => {
    const direct: RepositoryHub['interfere'] = (request, response) => {
      response.setHeader('x-linked-etag', sha256);
      sendBytes(request, response, content, '"other"');
      return true;
    };
    const partial = `owner--repo--main--model.gguf.${sha256.slice(0, 16)}.partial`;
    await mkdir(join(cacheDir, 'models'));
    await writeFile(join(cacheDir, 'models', partial), content.subarray(0, 90_000));
    hub.interfere = direct;
    expect(await readFile(await get('owner/repo/model.gguf'))).toEqual(content);
    expect(hub.requests.map(({ range }) => range)).toEqual([undefined, 'bytes=90000-']);
  });

  it('gets a file anew that was cut on the disk', async () => {
    const folder = await get();
    await truncate(join(folder, 'model.safetensors'), 10);
    await get();
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(weights);
  });
});

describe('resolveModel, a repository, refusals', () => {
  const swap = (pattern: RegExp, bytes: Uint8Array) => {
    hub.interfere = (request, response) => {
      if (!pattern.test(request.url!)) return false;
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
      return true;
    };
  };

  it.each([
    ['of a big file', cdnPath, /its SHA-256 is [0-9a-f]{64} instead of/],
    ['of a small file', /resolve.*config\.json/, /its SHA-1 in git is [0-9a-f]{40} instead of/],
  ])('refuses a wrong checksum %s, and leaves nothing of it', async (_, pattern, message) => {
    const name = pattern === cdnPath ? 'model.safetensors' : 'config.json';
    hub.files = { 'config.json': '{"a":1}', 'model.safetensors': weights };
    const wrong = Buffer.from(hub.files[name]!);
    wrong[3]! ^= 1;
    swap(pattern, wrong);
    await expect(get()).rejects.toMatchObject({
      code: 'LLMOPT_CHECKSUM_MISMATCH',
      message: expect.stringMatching(message),
    });
    const left = await readdir(join(cacheDir, 'models', 'owner--repo--main'));
    expect(left.filter((entry) => entry.startsWith(name))).toEqual([]);
    hub.interfere = () => false;
    expect(await readFile(join(await get(), name))).toEqual(Buffer.from(hub.files[name]!));
  });

  it('says what to do about a gated model, with and without a token, and never shows the token', async () => {
    hub.token = 'another';
    for (const [own, hint] of [
      ['', 'set HF_TOKEN to a token of yours'],
      [token, 'The token in HF_TOKEN may not read this model'],
    ] as const) {
      vi.stubEnv('HF_TOKEN', own);
      for (const name of ['owner/repo', 'owner/repo/model.gguf']) {
        const error = await get(name).catch((cause: Error) => cause);
        expect(error).toMatchObject({ code: 'LLMOPT_ACCESS_DENIED', message: expect.stringContaining(hint) });
        expect(error).toMatchObject({
          message: expect.stringContaining('"Access to model owner/repo is restricted."'),
        });
        expect(String(error)).not.toContain(token);
      }
    }
    vi.stubEnv('HF_TOKEN', `${token}\nx`);
    const error = await get().catch((cause: Error) => cause);
    expect(error).toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
    expect(String(error)).not.toContain(token);
    expect(await cached()).toEqual([]);
  });

  it.each([
    ['owner/other', '"Repository not found"'],
    ['owner/repo@nowhere', '"Invalid rev id: nowhere"'],
    ['owner/repo/none.gguf', '"Entry not found"'],
  ])('says that there is no %s', async (name, message) => {
    await expect(get(name)).rejects.toMatchObject({
      code: 'LLMOPT_MODEL_NOT_FOUND',
      message: expect.stringContaining(
        `answered 404 Not Found, ${message}. There is no local file or folder of this name`,
      ),
    });
  });

  it('says which GGUF files there are instead of safetensors', async () => {
    hub.files = { 'config.json': '{}', 'a.Q8_0.gguf': 'x', 'b.gguf': 'x', 'pytorch_model.bin': 'x' };
    await expect(get('owner/repo@v1')).rejects.toMatchObject({
      code: 'LLMOPT_MODEL_NOT_FOUND',
      message: expect.stringContaining('name one of them: owner/repo@v1/a.Q8_0.gguf, owner/repo@v1/b.gguf.'),
    });
    hub.files = { 'model.safetensors': 'x' };
    await expect(get()).rejects.toMatchObject({
      message: expect.stringContaining('has no config.json with safetensors'),
    });
  });

  it.each([
    ['an index that leads out of the folder', index({ a: '../x.safetensors' }), 'LLMOPT_SAFETENSORS_INVALID'],
    [
      'an index of shards that are not there',
      index({ a: 'model-00007-of-00007.safetensors' }),
      'LLMOPT_DOWNLOAD_FAILED',
    ],
    ['an index that is none', '{', 'LLMOPT_JSON_INVALID'],
  ])('refuses %s', async (_, text, code) => {
    hub.files = { ...sharded, 'model.safetensors.index.json': text };
    await expect(get()).rejects.toMatchObject({ code });
    hub.files = { ...sharded };
    expect(await readdir(await get())).toContain('model-00002-of-00002.safetensors');
  });

  it.each<[name: string, pattern: RegExp, answer: string, message: string]>([
    ['no commit', /\/revision\//, '{"sha":"x"}', 'the hub names no commit'],
    ['no size', /\/tree\//, '[{"type":"file","path":"config.json"}]', 'the hub gives no size of config.json'],
    ['no list', /\/tree\//, '7', 'not iterable'],
    ['no JSON', /\/tree\//, '<html>', 'JSON'],
  ])('refuses a hub that says %s', async (_, pattern, answer, message) => {
    swap(pattern, Buffer.from(answer));
    await expect(get()).rejects.toMatchObject({
      code: 'LLMOPT_DOWNLOAD_FAILED',
      message: expect.stringContaining(message),
    });
  });

  it('gives up on a hub that does not answer, or stops in the middle of its listing', async () => {
    hub.interfere = () => true;
    await expect(get('owner/repo', { connectTimeoutMs: 150 })).rejects.toMatchObject({
      code: 'LLMOPT_DOWNLOAD_FAILED',
      message: expect.stringContaining('did not answer for 0.15 s'),
    });
    hub.interfere = (request, response) => request.url!.includes('/tree/') && response.writeHead(200).write('[');
    await expect(get('owner/repo', { stallTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'LLMOPT_DOWNLOAD_FAILED',
      message: expect.stringContaining('stopped sending for 0.3 s'),
    });
  });

  it('stops at an abort', async () => {
    const controller = new AbortController();
    hub.interfere = () => {
      controller.abort();
      return true;
    };
    await expect(get('owner/repo', { signal: controller.signal })).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
  });

  it('refuses an endpoint that is none', async () => {
    vi.stubEnv('HF_ENDPOINT', 'file:///etc');
    await expect(get()).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
  });
});

describe('resolveModel, offline', () => {
  it('answers from the cache, and asks for nothing else', async () => {
    const folder = await get();
    const file = await get('owner/repo/pytorch_model.gguf').catch(() => undefined);
    expect(file).toBeUndefined();
    hub.files = { ...hub.files, 'model.gguf': content };
    const gguf = await get('owner/repo/model.gguf');
    const count = hub.requests.length;
    for (const value of ['1', 'true', 'YES', 'on']) {
      vi.stubEnv('HF_HUB_OFFLINE', value);
      expect(await get()).toBe(folder);
      expect(await get('owner/repo/model.gguf')).toBe(gguf);
      for (const name of ['owner/repo@v1', 'owner/other', 'owner/repo/other.gguf', 'smollm2-135m']) {
        await expect(get(name)).rejects.toMatchObject({
          code: 'LLMOPT_OFFLINE',
          message: expect.stringContaining(`${name} is not in the cache, and HF_HUB_OFFLINE forbids`),
        });
      }
    }
    await truncate(join(folder, 'config.json'), 1);
    await expect(get()).rejects.toMatchObject({ code: 'LLMOPT_OFFLINE' });
    expect(hub.requests).toHaveLength(count);
    vi.stubEnv('HF_HUB_OFFLINE', '0');
    expect(await get()).toBe(folder);
  });
});
