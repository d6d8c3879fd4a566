/** What fetch hands requests to. */
interface Dispatcher {
  dispatch(options: object, handler: unknown): boolean;
}

// Where undici, which is Node's fetch, keeps the dispatcher of the process: a proxy or certificates that were set there stay in use.
const places = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')];

async function findDispatcher(): Promise<Dispatcher | undefined> {
  const find = () =>
    places
      .map((place) => (globalThis as Record<symbol, unknown>)[place] as Dispatcher | undefined)
      .find((dispatcher) => typeof dispatcher?.dispatch === 'function');
  // It is made by the first fetch; this one needs no network.
  if (find() === undefined) await (await fetch('data:,')).arrayBuffer();
  return find();
}

/**
 * fetch, but over HTTP/1.1. From Node 26 on fetch takes HTTP/2 where it can, with a window so small that a download over 80 ms of
 * round trip got 3 MB/s instead of 60.
 */
export async function fetchHttp1(url: string, init: RequestInit): Promise<Response> {
  const dispatcher = await findDispatcher();
  if (dispatcher === undefined) return fetch(url, init);
  const http1: Dispatcher = {
    dispatch: (options, handler) => dispatcher.dispatch({ ...options, allowH2: false }, handler),
  };
  return fetch(url, { ...init, dispatcher: http1 } as RequestInit);
}
