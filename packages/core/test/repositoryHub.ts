import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A hub on this machine that speaks the protocol of the real one, for one repository. */
export interface RepositoryHub {
  /** Address of the hub. */
  readonly endpoint: string;
  /** Address of the host that big files come from. */
  readonly cdn: string;
  /** Every request, in order: the host, the path, and the headers that matter. */
  readonly requests: { host: 'hub' | 'cdn'; path: string; authorization?: string; range?: string }[];
  /** What the repository holds, whatever the commit; may be changed between requests. */
  files: Record<string, Uint8Array | string>;
  commit: string;
  /** Ask for this token. */
  token: string | undefined;
  /** Answers a request in its own way; returns false to let the hub answer. */
  interfere: (request: IncomingMessage, response: ServerResponse) => boolean;
  stop(): Promise<void>;
}

export interface RepositoryHubOptions {
  /** Default `owner/repo`. */
  repo?: string;
  /** Files of this size and above are kept elsewhere, under their SHA-256. Default 1,000 bytes. */
  lfsBytes?: number;
}

const hash = (algorithm: string, ...parts: (string | Uint8Array)[]) => {
  const sum = createHash(algorithm);
  for (const part of parts) sum.update(part);
  return sum.digest('hex');
};

export async function startRepositoryHub(
  files: RepositoryHub['files'],
  { repo = 'owner/repo', lfsBytes = 1_000 }: RepositoryHubOptions = {},
): Promise<RepositoryHub> {
  const requests: RepositoryHub['requests'] = [];
  const log = (host: 'hub' | 'cdn', { url, headers: { authorization, range } }: IncomingMessage) =>
    requests.push({ host, path: url!, ...(authorization ? { authorization } : {}), ...(range ? { range } : {}) });
  const bytesOf = (path: string) => {
    const content = hub.files[path];
    return content === undefined ? undefined : Buffer.from(content);
  };
  const refuse = (response: ServerResponse, status: number, code: string, message: string) =>
    response.writeHead(status, { 'x-error-code': code, 'x-error-message': message }).end(message);

  const cdn = await listen((request, response) => {
    log('cdn', request);
    if (hub.interfere(request, response)) return;
    const path = Object.keys(hub.files).find((name) => request.url === `/${hash('sha256', bytesOf(name)!)}?signed`);
    if (path === undefined) response.writeHead(403).end();
    else sendBytes(request, response, bytesOf(path)!, '"made-by-the-cdn"');
  });

  const main = await listen((request, response) => {
    log('hub', request);
    if (hub.interfere(request, response)) return;
    if (hub.token !== undefined && request.headers.authorization !== `Bearer ${hub.token}`) {
      refuse(response, 401, 'GatedRepo', `Access to model ${repo} is restricted.`);
      return;
    }
    const { pathname } = new URL(request.url!, hub.endpoint);
    const [, revision] = pathname.match(new RegExp(`^/api/models/${repo}/revision/([^/]+)$`)) ?? [];
    const [, tree] = pathname.match(new RegExp(`^/api/models/${repo}/tree/([^/]+)$`)) ?? [];
    const [, at, path] = pathname.match(new RegExp(`^/${repo}/resolve/([^/]+)/(.+)$`)) ?? [];
    const known = revision ?? tree ?? at;
    if (known === undefined) refuse(response, 404, 'RepoNotFound', 'Repository not found');
    else if (!/^(main|v1|[0-9a-f]{40})$/.test(known))
      refuse(response, 404, 'RevisionNotFound', `Invalid rev id: ${known}`);
    else if (revision) sendJson(response, { _id: '1', id: repo, sha: hub.commit });
    else if (tree)
      sendJson(
        response,
        Object.keys(hub.files).map((name) => describe(name)),
      );
    else sendFile(request, response, decodeURIComponent(path!));
  });

  function describe(name: string) {
    const bytes = bytesOf(name)!;
    const isLfs = bytes.length >= lfsBytes;
    return {
      type: 'file',
      path: name,
      size: bytes.length,
      oid: isLfs ? hash('sha1', 'pointer') : hash('sha1', `blob ${bytes.length}\0`, bytes),
      ...(isLfs ? { lfs: { oid: hash('sha256', bytes), size: bytes.length, pointerSize: 134 } } : {}),
    };
  }

  function sendFile(request: IncomingMessage, response: ServerResponse, path: string): void {
    const bytes = bytesOf(path);
    if (!bytes) {
      refuse(response, 404, 'EntryNotFound', 'Entry not found');
      return;
    }
    const { oid, lfs } = describe(path);
    if (!lfs) {
      sendBytes(request, response, bytes, `"${oid}"`);
      return;
    }
    const linked = { 'x-linked-etag': `"${lfs.oid}"`, 'x-linked-size': lfs.size, 'x-repo-commit': hub.commit };
    response.writeHead(302, { ...linked, location: `${hub.cdn}/${lfs.oid}?signed` }).end();
  }

  const hub: RepositoryHub = {
    endpoint: address(main),
    cdn: address(cdn),
    requests,
    files,
    commit: 'a'.repeat(40),
    token: undefined,
    interfere: () => false,
    async stop() {
      await Promise.all([main, cdn].map(close));
    },
  };
  return hub;
}

/** Bytes, or the range of them that was asked for. */
export function sendBytes(request: IncomingMessage, response: ServerResponse, bytes: Uint8Array, etag: string): void {
  const [, from] = request.headers.range?.match(/^bytes=(\d+)-$/) ?? [];
  if (from === undefined) {
    response.writeHead(200, { etag, 'content-length': bytes.length, 'accept-ranges': 'bytes' }).end(bytes);
  } else if (Number(from) >= bytes.length) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
  } else {
    const part = bytes.subarray(Number(from));
    const range = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
    response.writeHead(206, { etag, 'content-length': part.length, 'content-range': range }).end(part);
  }
}

const sendJson = (response: ServerResponse, value: unknown) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));

async function listen(listener: RequestListener): Promise<Server> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

const address = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
