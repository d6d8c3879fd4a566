import { afterEach, expect, it } from 'vitest';
import { content, sendAll, startHub } from '../../../test/fakeHub.ts';
import { fetchHttp1 } from './http1.ts';

let hub: Awaited<ReturnType<typeof startHub>> | undefined;
afterEach(() => hub?.stop());

it('goes through the dispatcher of the process, which it asks for HTTP/1.1', async () => {
  hub = await startHub(sendAll);
  const url = `${process.env.HF_ENDPOINT}x`;
  await fetchHttp1(url, {}).then((response) => response.arrayBuffer());
  const place = Symbol.for('undici.globalDispatcher.2');
  const globals = globalThis as unknown as Record<
    symbol,
    { dispatch(options: { allowH2?: boolean }, handler: unknown): boolean }
  >;
  const real = globals[place]!;
  const asked: unknown[] = [];
  globals[place] = {
    dispatch(options, handler) {
      asked.push(options.allowH2);
      return real.dispatch(options, handler);
    },
  };
  try {
    const response = await fetchHttp1(url, {});
    expect(Buffer.from(await response.arrayBuffer())).toEqual(content);
  } finally {
    globals[place] = real;
  }
  expect(asked).toEqual([false]);
});
