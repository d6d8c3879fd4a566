import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { forwardAlone, forwardPieces, randomGraph } from '../../../test/backends.ts';
import { type Graph, withParams } from '../../graph/graph.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import type { KvCache, KvLayout } from '../../kv/kvCache.ts';
import type { KvMemory } from '../../kv/kvMemory.ts';
import { wasm } from './index.ts';

interface Options {
  graph?: Graph;
  contextLength?: number;
  cacheDir?: string;
  makeCache?: (layout: KvLayout) => KvCache;
}

async function compileKv({ graph = randomGraph(), makeCache = contiguousKvCache, ...sizes }: Options = {}) {
  let kvMemory: KvMemory | undefined;
  const executable = await wasm({ threads: 2 }).compile(graph, {
    ...{ slots: 2, contextLength: 64, maxRows: 48, modelKey: 'test', cacheDir: undefined, ...sizes },
    kvCache(layout, memory) {
      kvMemory = memory;
      return makeCache(layout);
    },
  });
  return { executable, kvMemory: kvMemory! };
}

const tokens = Array.from({ length: 40 }, (_, i) => (i * 29) % 101);
const bitsOf = (rows: readonly Float32Array[]) => rows.map((row) => Buffer.from(row.buffer).toString('base64'));

/** A graph whose parameters count how often they are read, and can be made to fail. */
function watched(graph = randomGraph()) {
  const state = { reads: 0, broken: false };
  const params = Array.from(graph.params, ([name, param]) => {
    const read = async () => {
      state.reads++;
      if (state.broken) throw new Error('is gone');
      return param.read();
    };
    return [name, { ...param, read }] as const;
  });
  return { state, graph: withParams(graph, params) };
}

describe('recycle', () => {
  // In a process of its own, where nobody else has V8 collect garbage.
  it('gives all memory of keys and values back to the system', { timeout: 60_000 }, () => {
    const url = (file: string) => JSON.stringify(new URL(file, import.meta.url));
    const script = `
      import { wasm } from ${url('index.ts')};
      import { contiguousKvCache } from ${url('../../kv/contiguous.ts')};
      import { forwardAlone, randomGraph } from ${url('../../../test/backends.ts')};
      // 384 bytes per token and slot: 201 MB.
      const contextLength = 262_144;
      const sizes = { slots: 2, contextLength, maxRows: 32, modelKey: 'test', cacheDir: undefined };
      let memory;
      const kvCache = (layout, kvMemory) => ((memory = kvMemory), contiguousKvCache(layout));
      const executable = await wasm({ threads: 2 }).compile(randomGraph({ context: contextLength }), { ...sizes, kvCache });
      await forwardAlone(executable, [1, 2, 3]);
      const figures = [];
      for (let i = 0; i < 2; i++) {
        for (const slot of [0, 1]) memory.commit(slot, 0, contextLength);
        figures.push(process.memoryUsage.rss());
        await executable.recycle();
        // The system may take it a moment later, when others have the processors.
        for (let wait = 0; process.memoryUsage.rss() > figures.at(-1) - 180e6 && wait < 100; wait++)
          await new Promise((resolve) => setTimeout(resolve, 100));
        figures.push(process.memoryUsage.rss());
        await forwardAlone(executable, [1, 2, 3]);
      }
      await executable.dispose();
      console.log(JSON.stringify(figures));`;
    const output = execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    const [full, after, fullAgain, afterAgain] = JSON.parse(output) as [number, number, number, number];
    expect(full - after).toBeGreaterThan(180e6);
    expect(fullAgain - full).toBeLessThan(50e6);
    expect(fullAgain - afterAgain).toBeGreaterThan(180e6);
  });

  it('keeps the cache, whose books say that nothing is there', async () => {
    const { executable } = await compileKv();
    const { kv } = executable;
    try {
      const expected = bitsOf(await forwardAlone(executable, tokens, 7));
      for (let i = 0; i < 3; i++) {
        expect(executable.memory().kv.committedBytes).toBeGreaterThan(0);
        await executable.recycle!();
        expect(executable.kv).toBe(kv);
        expect(executable.memory().kv).toMatchObject({ committedBytes: 0, liveBytes: 0 });
        expect(bitsOf(await forwardAlone(executable, tokens, 7))).toEqual(expected);
      }
    } finally {
      await executable.dispose();
    }
  });

  it('reads packed weights where there are some', async () => {
    const { state, graph } = watched();
    const cacheDir = mkdtempSync(path.join(tmpdir(), 'llmopt-recycle-'));
    const { executable } = await compileKv({ graph, cacheDir });
    try {
      const { reads } = state;
      expect(reads).toBeGreaterThan(0);
      await executable.recycle!();
      expect(state.reads).toBe(reads);
    } finally {
      await executable.dispose();
    }
  });

  it('makes those wait that compute in the meantime', async () => {
    const { executable, kvMemory } = await compileKv();
    const { kv } = executable;
    try {
      const expected = bitsOf(await forwardAlone(executable, tokens));
      const recycling = executable.recycle!();
      expect(executable.recycle!()).toBe(recycling);
      const slot = kv.acquire()!;
      kvMemory.commit(slot, 0, 40);
      kvMemory.release(slot, 0);
      expect(kvMemory.residentBytes()).toBeUndefined();
      expect(() => kvMemory.read(slot, 1)).toThrow(expect.objectContaining({ code: 'LLMOPT_BUSY' }));
      expect(bitsOf(await forwardPieces(executable, [{ slot, tokens }]))).toEqual(expected);
      await recycling;
      kvMemory.read(slot, 1);
    } finally {
      await executable.dispose();
    }
  });

  it('is refused while somebody needs the memory, and changes nothing', async () => {
    const { executable } = await compileKv();
    const busy = { code: 'LLMOPT_BUSY' };
    try {
      const expected = bitsOf(await forwardAlone(executable, tokens));
      const slot = executable.kv.acquire()!;
      const rows = await forwardPieces(executable, [{ slot, tokens: tokens.slice(0, 39) }]);
      await expect(executable.recycle!()).rejects.toMatchObject(busy);
      const running = forwardPieces(executable, [{ slot, tokens: tokens.slice(39) }]);
      executable.kv.release(slot);
      await expect(executable.recycle!()).rejects.toMatchObject(busy);
      rows.push(...(await running));
      expect(bitsOf(rows)).toEqual(expected);
      await executable.recycle!();
    } finally {
      await executable.dispose();
    }
    await expect(executable.recycle!()).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
    await expect(forwardAlone(executable, tokens)).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });

  it('is not there for a cache that does not know of it', async () => {
    const makeCache = (layout: KvLayout): KvCache => ({ ...contiguousKvCache(layout), recycled: undefined });
    const { executable } = await compileKv({ makeCache });
    expect(executable.recycle).toBeUndefined();
    await executable.dispose();
  });

  it('that fails leaves an executable which says why', async () => {
    const { state, graph } = watched();
    const { executable } = await compileKv({ graph });
    state.broken = true;
    await expect(executable.recycle!()).rejects.toThrow('is gone');
    await expect(forwardAlone(executable, tokens)).rejects.toThrow('is gone');
    await executable.dispose();
  });

  it('ends before the executable is disposed', async () => {
    const { executable } = await compileKv();
    const recycling = executable.recycle!();
    await executable.dispose();
    await recycling;
    await expect(forwardAlone(executable, tokens)).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });
});
