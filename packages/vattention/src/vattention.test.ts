import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { createPipeline, type Pipeline, type PipelineOptions, type Plugin, wasm } from '@llmopt/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../core/test/tinyModel.ts';
import type { VattentionOptions } from './options.ts';
import { vattention } from './vattention.ts';

// Of the tiny model a token takes 128 bytes in each of 4 ranges, so a group of a page is 32 tokens and 16,384 bytes.
const groupBytes = 4096;
const groupOfAll = 4 * groupBytes;

const watcher = { name: 'watcher', version: '1', fidelity: 'exact' } as const;

describe('vattention', () => {
  let folder: string;
  let model: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'llmopt-vattention-'));
    model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  const open = async (options: VattentionOptions = {}, more: Partial<PipelineOptions> = {}) => {
    const plugin = vattention({ groupBytes, ...options });
    const pipeline = await createPipeline({
      model,
      cacheDir: false,
      backend: wasm({ threads: 2 }),
      ...more,
      plugins: [plugin, ...(more.plugins ?? [])],
    });
    return { plugin, pipeline };
  };
  const plain = () => createPipeline({ model, cacheDir: false, backend: wasm({ threads: 2 }) });
  const prompt = (length: number, seed = 0) => Array.from({ length }, (_, i) => 10 + ((i * 29 + seed * 17) % 200));
  const answer = async (pipeline: Pipeline, tokens: readonly number[], maxNewTokens = 12) =>
    (await pipeline.generate(tokens, { maxNewTokens, ignoreEndToken: true, temperature: 0 })).tokens;

  it('answers as without it, and says what it does', async () => {
    await using reference = await plain();
    const { plugin, pipeline } = await open();
    await using _ = pipeline;
    const tokens = await answer(pipeline, prompt(50));
    expect(tokens).toEqual(await answer(reference, prompt(50)));
    expect(pipeline.describe()).toContain('; vattention: groups of 4,096 bytes behind the tokens, at most 0.5 MB; ');
    expect(pipeline.plan.fidelity).toBe('exact');
    const { kv } = pipeline.memory();
    expect(plugin.stats()).toMatchObject({
      liveBytes: 0,
      committedBytes: kv.committedBytes,
      reservedBytes: kv.reservedBytes,
    });
    expect(pipeline.metrics()).toMatchObject({ 'vattention.budgetBytes': 4 * 8 * groupOfAll, 'vattention.reuses': 0 });
  });

  it('goes on from what an earlier turn left', async () => {
    await using reference = await plain();
    const { plugin, pipeline } = await open();
    await using _ = pipeline;
    const first = prompt(40);
    const second = [...first, ...(await answer(pipeline, first)), ...prompt(20, 1)];
    expect(await answer(pipeline, second)).toEqual(await answer(reference, second));
    // The last token of the first answer was never fed.
    expect(plugin.stats()).toMatchObject({ reuses: 1, reusedTokens: 51 });
    plugin.trim();
    expect(await answer(pipeline, second)).toEqual(await answer(reference, second));
  });

  it('lets many streams share a budget that is too small for all of them, without one of them noticing', async () => {
    await using reference = await plain();
    const { plugin, pipeline } = await open({ budgetBytes: 9 * groupOfAll }, { slots: 6 });
    await using _ = pipeline;
    const prompts = Array.from({ length: 10 }, (_, i) => prompt(10 + ((i * 37) % 90), i));
    const answers = await Promise.all(prompts.map((tokens) => answer(pipeline, tokens, 60)));
    for (const [i, tokens] of prompts.entries()) expect(answers[i]).toEqual(await answer(reference, tokens, 60));
    expect(pipeline.metrics()['scheduler.preemptions']).toBeGreaterThan(0);
    expect(plugin.stats().liveBytes).toBe(0);
  });

  it('refuses a prompt that never has room, and goes on with others', async () => {
    const { pipeline } = await open({ budgetBytes: 2 * groupOfAll });
    await using _ = pipeline;
    const both = [answer(pipeline, prompt(100)), answer(pipeline, prompt(30), 3)];
    await expect(both[0]).rejects.toMatchObject({
      code: 'LLMOPT_KV_BUDGET',
      message:
        '100 tokens take 65536 bytes; there will never be more than 32768. Use a shorter prompt, or raise budgetBytes of vattention.',
    });
    expect(await both[1]).toHaveLength(3);
    await expect(open({ budgetBytes: groupOfAll - 1 })).rejects.toThrow(
      'A budget of 16383 bytes holds no group of 16384.',
    );
  });

  it('an abort in the middle of a prompt leaves nothing live, and what was computed is sound', async () => {
    await using reference = await plain();
    const controller = new AbortController();
    let steps = 0;
    const stop: Plugin = { ...watcher, step: () => void (++steps === 2 && controller.abort()) };
    const { plugin, pipeline } = await open({}, { maxRows: 16, plugins: [stop] });
    await using _ = pipeline;
    await expect(pipeline.generate(prompt(100), { signal: controller.signal })).rejects.toMatchObject({
      code: 'LLMOPT_ABORTED',
    });
    expect(plugin.stats().liveBytes).toBe(0);
    expect(await answer(pipeline, prompt(100))).toEqual(await answer(reference, prompt(100)));
    expect(plugin.stats().reusedTokens).toBe(32);
  });

  it('a thread that dies during a step ends all with a typed error, and the plugin is free for another pipeline', async () => {
    await using reference = await plain();
    const workers: Worker[] = [];
    const note = (worker: Worker) => workers.push(worker);
    process.on('worker', note);
    let steps = 0;
    const kill: Plugin = { ...watcher, step: () => void (++steps === 5 && workers[1]!.terminate()) };
    const { plugin, pipeline } = await open({}, { plugins: [kill] });
    const options = { maxNewTokens: 150, ignoreEndToken: true };
    const died = { code: 'LLMOPT_WORKER_DIED' };
    const both = [pipeline.generate(prompt(50), options), pipeline.generate(prompt(50, 1), options)];
    for (const request of both) await expect(request).rejects.toMatchObject(died);
    process.off('worker', note);
    expect(plugin.stats().liveBytes).toBe(0);
    await expect(pipeline.generate(prompt(50), options)).rejects.toMatchObject(died);
    await pipeline.dispose();
    await using anew = await createPipeline({
      model,
      plugins: [plugin],
      cacheDir: false,
      backend: wasm({ threads: 2 }),
    });
    expect(await answer(anew, prompt(50))).toEqual(await answer(reference, prompt(50)));
  });

  it('saves a sequence and goes on from it in another pipeline', async () => {
    await using reference = await plain();
    const file = path.join(folder, 'saved');
    const first = prompt(70);
    const { plugin, pipeline } = await open();
    const tokens = [...first, ...(await answer(pipeline, first))];
    expect(await plugin.save(tokens, file)).toEqual({ tokens: 81, bytes: 6 * 16 * 128 * 4 });
    await expect(plugin.save(prompt(9, 1), file)).rejects.toMatchObject({ code: 'LLMOPT_KV_FILE' });
    await pipeline.dispose();

    // Other options change nothing in keys and values.
    const later = await open({ groupBytes: 16_384, warmBytes: 200_000 });
    await using _ = later.pipeline;
    expect(await later.plugin.restore(file)).toEqual({ tokens: 81, bytes: 6 * 16 * 128 * 4 });
    const { committedBytes } = later.plugin.stats();
    expect(await later.plugin.restore(file)).toMatchObject({ tokens: 81 });
    expect(later.plugin.stats()).toMatchObject({ liveBytes: 0, reuses: 0, committedBytes });
    expect(await answer(later.pipeline, tokens)).toEqual(await answer(reference, tokens));
    expect(later.plugin.stats()).toMatchObject({ reuses: 1, reusedTokens: 81 });
  });

  it('restores only what belongs to the model, has room and can be found again', async () => {
    const file = path.join(folder, 'saved-again');
    const { plugin, pipeline } = await open();
    await answer(pipeline, prompt(70), 1);
    await plugin.save(prompt(70), file);
    await pipeline.dispose();
    const int16 = await open({}, { backend: wasm({ kv: 'int16' }) });
    await expect(int16.plugin.restore(file)).rejects.toMatchObject({ code: 'LLMOPT_KV_FILE' });
    await int16.pipeline.dispose();
    const small = await open({ reclaim: 'eager' });
    await expect(small.plugin.restore(file)).rejects.toMatchObject({ code: 'LLMOPT_KV_BUDGET' });
    expect(small.plugin.stats().committedBytes).toBe(0);
    await small.pipeline.dispose();
    const short = await open({}, { contextLength: 64 });
    await expect(short.plugin.restore(file)).rejects.toMatchObject({ code: 'LLMOPT_KV_FULL' });
    await short.pipeline.dispose();
    const full = await open({ warmBytes: 100_000 }, { slots: 1 });
    const slot = full.pipeline.acquireSlot()!;
    await expect(full.plugin.restore(file)).rejects.toMatchObject({ code: 'LLMOPT_SLOTS_EXHAUSTED' });
    full.pipeline.releaseSlot(slot);
    const restored = full.plugin.restore(file);
    await full.pipeline.dispose();
    await expect(restored).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
    const blind = await open({ prefixReuse: false });
    await expect(blind.plugin.restore(file)).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
    await blind.pipeline.dispose();
  });

  it('keeps the books of a backend whose memory it cannot manage', async () => {
    const { plugin, pipeline } = await open({ groupBytes: 4096 }, { backend: 'reference' });
    await using _ = pipeline;
    const first = await answer(pipeline, prompt(40), 2);
    expect(await answer(pipeline, prompt(40), 2)).toEqual(first);
    expect(plugin.stats()).toMatchObject({ reuses: 1, reusedTokens: 39, copies: 0 });
    expect(plugin.trim()).toBe(0);
    expect(pipeline.describe()).toContain('the backend keeps its memory to itself, and the budget counts tokens');
    await expect(plugin.save(prompt(40), path.join(folder, 'none'))).rejects.toMatchObject({ code: 'LLMOPT_KV_FILE' });
  });

  it('belongs to one pipeline at a time', async () => {
    const { plugin, pipeline } = await open();
    await expect(createPipeline({ model, plugins: [plugin], cacheDir: false })).rejects.toThrow(
      'This vattention belongs to another pipeline. Make one for each pipeline, or dispose the other pipeline first.',
    );
    expect(plugin.stats().committedBytes).toBe(0);
    await pipeline.dispose();
    expect(() => plugin.stats()).toThrow(expect.objectContaining({ code: 'LLMOPT_DISPOSED' }));
    expect([plugin.trim(), plugin.metrics!()]).toEqual([0, {}]);
    await using again = await createPipeline({ model, plugins: [plugin], cacheDir: false });
    expect(await answer(again, prompt(20), 2)).toHaveLength(2);
  });
});
