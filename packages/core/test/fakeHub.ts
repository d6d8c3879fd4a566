import { createHash } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { vi } from 'vitest';
import type { CatalogEntry } from '../src/checkpoint/hub/catalog.ts';

/** A "model" that does not compress and takes many parts on the wire. */
export const content = Buffer.from(
  Array.from({ length: 300_000 }, (_, index) => (Math.imul(index, 0x9e3779b1) >>> 24) & 255),
);
export const sha256 = createHash('sha256').update(content).digest('hex');

/** What a catalogue would say about `content`. */
export const entry: CatalogEntry = {
  file: 'model.gguf',
  sizeBytes: content.length,
  sha256,
  hub: { repo: 'owner/repo', file: 'model.gguf', revision: 'main' },
};

export const sendAll: RequestListener = (_, response) =>
  response.writeHead(200, { 'content-length': content.length }).end(content);

/** Starts a hub on this machine that answers as `listener` does, and makes it the one that `HF_ENDPOINT` names. */
export async function startHub(listener: RequestListener) {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url!);
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  return {
    /** Paths that were asked for, in order. */
    requests,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
