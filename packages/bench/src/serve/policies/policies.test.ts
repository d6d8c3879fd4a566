import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPipeline, type KvContext, type KvLayout, type KvMemory, type Pipeline, wasm } from '@llmopt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../../core/test/tinyModel.ts';
import { watchSlots } from '../slotWatch.ts';
import type { BaselinePolicy } from './names.ts';
import { baselinePlugin } from './plugin.ts';

const policies: BaselinePolicy[] = ['fixed-zeroed', 'fixed', 'grow-copy'];
const prompts = [3, 40, 90, 17, 16, 1].map((length) =>
  Array.from({ length }, (_, index) => (index * 7 + length) % 250),
);
const options = { maxNewTokens: 12, temperature: 0, ignoreEndToken: true };

let folder = '';
let model = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-policies-'));
  model = await writeTinyModel(join(folder, 'tiny.gguf'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function open(policy: BaselinePolicy | undefined, { slots = 2, budgetBytes = Number.POSITIVE_INFINITY } = {}) {
  const { plugin, watch } = watchSlots(baselinePlugin(policy ?? 'fixed', { budgetBytes }));
  const pipeline = await createPipeline({
    ...{ model, slots, cacheDir: false, backend: wasm({ threads: 1 }) },
    plugins: policy ? [plugin] : [],
  });
  return { pipeline, watch };
}

const textsOf = async (pipeline: Pipeline) =>
  (await Promise.all(prompts.map((prompt) => pipeline.generate(prompt, options)))).map(({ text }) => text);

describe.each(policies)('%s', (policy) => {
  it('writes what the default cache writes, with slots that are used again', async () => {
    await using expected = (await open(undefined)).pipeline;
    const { pipeline, watch } = await open(policy);
    await using own = pipeline;
    expect(await textsOf(own)).toEqual(await textsOf(expected));
    expect(watch.mostHeld()).toBe(2);
    expect(watch.held()).toBe(0);
  });

  it('holds no more than its budget allows, and refuses one that has no room for a sequence', async () => {
    // Keys and values of the tiny model: 2 layers, 2 heads of 16, so 512 bytes per token; 256 tokens per slot.
    const budgetBytes = 300 * 512;
    const { pipeline, watch } = await open(policy, { slots: 4, budgetBytes });
    await using own = pipeline;
    await textsOf(own);
    expect(watch.mostHeld()).toBeGreaterThan(0);
    if (policy !== 'grow-copy') expect(watch.mostHeld()).toBe(1);
    const none = open(policy, { budgetBytes: 16 * 512 - 1 }).then(({ pipeline }) => textsOf(pipeline));
    await expect(none).rejects.toMatchObject({ code: 'LLMOPT_KV_BUDGET' });
  });
});

it.skipIf(process.platform !== 'linux')(
  'the system says that zeroed slots are resident before anybody asks for one',
  async () => {
    const zeroed = await open('fixed-zeroed');
    await using pipeline = zeroed.pipeline;
    const { reservedBytes, committedBytes, liveBytes } = pipeline.memory().kv;
    expect([committedBytes, liveBytes]).toEqual([reservedBytes, 0]);
    const resident = zeroed.watch.residentBytes();
    if (resident !== undefined) expect(resident).toBeGreaterThanOrEqual(reservedBytes);
    const lazy = await open('fixed');
    await using other = lazy.pipeline;
    expect(other.memory().kv.committedBytes).toBe(0);
    if (resident !== undefined) expect(lazy.watch.residentBytes()).toBeLessThan(reservedBytes / 4);
  },
);

describe('grow-copy', () => {
  const layout: KvLayout = { layers: 1, kvHeads: 1, headDim: 4, slots: 2, capacity: 64, elementType: 'float32' };
  const memoryOf = (log: string[]): KvMemory => ({
    ...{ giveBack: 'madvise', ranges: 2, pageBytes: 4096, rangeBytes: (tokens) => Math.ceil(tokens / 16) * 16 * 16 },
    commit: () => {},
    copy: () => {},
    release: (slot, tokens) => void log.push(`release ${slot} from ${tokens}`),
    read: (slot, tokens) => {
      log.push(`read ${tokens} of ${slot}`);
      return new Uint8Array(2 * Math.ceil(tokens / 16) * 256);
    },
    write: (slot, tokens) => void log.push(`write ${tokens} of ${slot}`),
    residentBytes: () => undefined,
  });
  const cacheOf = (log: string[], budgetBytes?: number) => {
    const context: KvContext = { memory: memoryOf(log), modelKey: 'm', promptsDiffer: false };
    const { kvCache } = baselinePlugin('grow-copy', budgetBytes === undefined ? {} : { budgetBytes });
    return kvCache!(layout, context);
  };

  it('copies the whole sequence at every step, and holds both', () => {
    const log: string[] = [];
    const cache = cacheOf(log);
    const slot = cache.acquire() as number;
    cache.reserve(new Map([[slot, 16]]));
    cache.commit(slot, 16);
    expect(cache.bytes().committed).toBe(512);
    cache.reserve(new Map([[slot, 17]]));
    expect(log).toEqual(['read 16 of 0', 'write 16 of 0']);
    // Two runs of 16 tokens now, and the one before.
    expect(cache.bytes().committed).toBe(1024 + 512);
    cache.commit(slot, 17);
    cache.release(slot);
    expect(log.at(-1)).toBe('release 0 from 0');
    expect(cache.bytes()).toMatchObject({ committed: 0, live: 0 });
  });

  it('refuses a step beyond the budget, and has not changed', () => {
    const cache = cacheOf([], 1024);
    const slot = cache.acquire() as number;
    cache.reserve(new Map([[slot, 16]]));
    cache.commit(slot, 16);
    expect(() => cache.reserve(new Map([[slot, 17]]))).toThrow(expect.objectContaining({ code: 'LLMOPT_KV_BUDGET' }));
    expect(cache.bytes()).toMatchObject({ committed: 512, live: 16 * 32 });
  });
});
