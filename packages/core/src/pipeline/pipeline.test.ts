import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tinyMerges, writeTinyModel } from '../../test/tinyModel.ts';
import type { Backend, CompileOptions } from '../backends/backend.ts';
import { wasm } from '../backends/wasm/index.ts';
import { openGguf } from '../checkpoint/index.ts';
import { LlmoptError } from '../errors.ts';
import { contiguousKvCache } from '../kv/contiguous.ts';
import type { KvLayout } from '../kv/kvCache.ts';
import { definePlugin, type Plugin } from '../plugin/plugin.ts';
import { createPipeline } from './createPipeline.ts';
import type { Pipeline, PipelineOptions } from './types.ts';

let folder: string;
let model: string;
let pipeline: Pipeline;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-pipeline-'));
  model = await writeTinyModel(path.join(folder, 'tiny.gguf'));
  pipeline = await open();
});
afterAll(async () => {
  await pipeline.dispose();
  await rm(folder, { recursive: true });
});

const open = (options: Partial<PipelineOptions> = {}) =>
  createPipeline({ model, backend: wasm({ threads: 2 }), cacheDir: path.join(folder, 'cache'), ...options });

async function collect(stream: AsyncIterable<string>): Promise<string> {
  let text = '';
  for await (const piece of stream) text += piece;
  return text;
}

it('takes fewer slots than 4 where 4 do not fit, unless they were asked for', async () => {
  const asked: Pick<CompileOptions, 'slots' | 'leastSlots'>[] = [];
  const backend = wasm({ threads: 1 });
  const compile: Backend['compile'] = (graph, options) => {
    asked.push({ slots: options.slots, leastSlots: options.leastSlots });
    return backend.compile(graph, options);
  };
  for (const slots of [undefined, 2]) await (await open({ backend: { ...backend, compile }, slots })).dispose();
  expect(asked).toEqual([
    { slots: 4, leastSlots: 1 },
    { slots: 2, leastSlots: 2 },
  ]);
});

it('marks the rows of a prompt, however it is cut, and no others', async () => {
  const backend = wasm({ threads: 1 });
  const marks = new Map<number, number[]>();
  const compile: Backend['compile'] = async (graph, options) => {
    const executable = await backend.compile(graph, { ...options, maxRows: 4 });
    const forward: typeof executable.forward = (batch) => {
      for (let row = 0; row < batch.tokens.length; row++) {
        const slot = batch.slots[row]!;
        marks.set(slot, [...(marks.get(slot) ?? []), batch.prompt![row]!]);
      }
      return executable.forward(batch);
    };
    return { ...executable, forward };
  };
  const watched = await open({ backend: { ...backend, compile }, maxRows: 4 });
  const prompts = ['hello world, hello', 'a'];
  await Promise.all(prompts.map((prompt) => watched.generate(prompt, { maxNewTokens: 4, ignoreEndToken: true })));
  const lengths = prompts.map((prompt) => watched.tokenizer.encode(prompt).length);
  await watched.dispose();
  expect(lengths[0]).toBeGreaterThan(4);
  // The last new token goes through no step.
  expect([...marks.values()]).toEqual(lengths.map((length) => [...new Array(length).fill(1), 0, 0, 0]));
});

describe('generate', () => {
  it('returns text, tokens, usage and timings that fit together', async () => {
    const result = await pipeline.generate('hello world', { maxNewTokens: 12, ignoreEndToken: true });
    expect(result.tokens).toHaveLength(12);
    expect(result.text).toBe(pipeline.tokenizer.decode(result.tokens));
    expect(result.finishReason).toBe('length');
    expect(result.usage).toEqual({
      inputTokens: pipeline.tokenizer.encode('hello world').length,
      outputTokens: 12,
      totalTokens: result.usage.inputTokens + 12,
    });
    const { tokenTimesMs, timeToFirstTokenMs, timePerOutputTokenMs, totalMs } = result.timings;
    expect(tokenTimesMs).toHaveLength(12);
    expect(timeToFirstTokenMs).toBe(tokenTimesMs[0]);
    expect(timePerOutputTokenMs).toBeCloseTo((tokenTimesMs[11]! - tokenTimesMs[0]!) / 11, 9);
    expect(totalMs).toBeGreaterThanOrEqual(tokenTimesMs[11]!);
  });

  it('says the same on the reference backend in float32', async () => {
    const oracle = await open({ backend: 'reference' });
    const precise = await open({ backend: wasm({ precision: 'float32', threads: 2 }) });
    const options = { maxNewTokens: 30, ignoreEndToken: true };
    expect((await precise.generate('hello', options)).tokens).toEqual((await oracle.generate('hello', options)).tokens);
    await oracle.dispose();
    await precise.dispose();
  });

  it('is the same for the same seed, and not for another', async () => {
    const text = async (seed: number) =>
      (await pipeline.generate('a', { temperature: 1, seed, maxNewTokens: 24, ignoreEndToken: true })).text;
    expect(await text(1)).toBe(await text(1));
    expect(await text(1)).not.toBe(await text(2));
  });

  it('stops in front of a stop string', async () => {
    const full = await pipeline.generate('hello', { maxNewTokens: 20, ignoreEndToken: true });
    const stop = full.text.slice(5, 8);
    const cut = await pipeline.generate('hello', { maxNewTokens: 20, ignoreEndToken: true, stop: [stop] });
    expect(cut.finishReason).toBe('stopString');
    expect(cut.text).toBe(full.text.slice(0, full.text.indexOf(stop)));
  });

  it('stops at an end token, unless told not to', async () => {
    // The tiny model's logits are made to end after three tokens.
    const end = definePlugin({
      name: 'end',
      version: '1',
      fidelity: 'approximate',
      logits(logits, { tokens, promptLength }) {
        if (tokens.length - promptLength === 3) logits[[...pipeline.tokenizer.stopTokens][0]!] = 1e9;
      },
    });
    const ending = await open({ plugins: [end] });
    const stopped = await ending.generate('hello', { maxNewTokens: 8 });
    expect(stopped).toMatchObject({ finishReason: 'endToken', usage: { outputTokens: 3 } });
    expect((await ending.generate('hello', { maxNewTokens: 8, ignoreEndToken: true })).usage.outputTokens).toBe(8);
    await ending.dispose();
  });

  it('ends when the context is full, with every token that fits', async () => {
    const small = await open({ contextLength: 16 });
    const prompt = small.tokenizer.encode('hello world');
    const { finishReason, tokens } = await small.generate(prompt, { maxNewTokens: 100, ignoreEndToken: true });
    expect(finishReason).toBe('contextFull');
    // The last token needs no place of its own: nothing comes after it.
    expect(prompt.length + tokens.length).toBe(17);
    await small.dispose();
  });

  it('returns log-probabilities of the tokens it chose', async () => {
    const { logProbs, tokens } = await pipeline.generate('hello', {
      maxNewTokens: 5,
      ignoreEndToken: true,
      logProbs: 3,
    });
    expect(logProbs!.map(({ token }) => token)).toEqual(tokens);
    for (const { token, logProb, top } of logProbs!) {
      expect(top).toHaveLength(3);
      expect(top[0]).toEqual({ token, logProb });
      expect(logProb).toBeLessThan(0);
    }
  });

  it.each<[string, string | number[], object, string]>([
    ['an empty prompt', '', {}, 'LLMOPT_PROMPT_EMPTY'],
    ['a prompt longer than the context', Array.from({ length: 256 }, () => 5), {}, 'LLMOPT_PROMPT_TOO_LONG'],
    ['a token outside the vocabulary', [1_000_000], {}, 'LLMOPT_TOKEN_INVALID'],
    ['a negative temperature', 'a', { temperature: -1 }, 'LLMOPT_OPTION_INVALID'],
    ['no new tokens', 'a', { maxNewTokens: 0 }, 'LLMOPT_OPTION_INVALID'],
    ['an empty stop string', 'a', { stop: [''] }, 'LLMOPT_OPTION_INVALID'],
    ['an unknown option', 'a', { temprature: 1 }, 'LLMOPT_OPTION_INVALID'],
  ])('refuses %s', async (_, prompt, options, code) => {
    await expect(pipeline.generate(prompt, options)).rejects.toMatchObject({ code });
  });
});

describe('streams', () => {
  it('two at once interleave, and each says what it says alone', async () => {
    const prompts = ['hello world', 'and the other one in the world'];
    const options = { maxNewTokens: 40, ignoreEndToken: true };
    const alone = [];
    for (const prompt of prompts) alone.push((await pipeline.generate(prompt, options)).text);
    const order: number[] = [];
    const texts = await Promise.all(
      prompts.map(async (prompt, i) => {
        let text = '';
        for await (const piece of pipeline.stream(prompt, options)) {
          order.push(i);
          text += piece;
        }
        return text;
      }),
    );
    expect(texts).toEqual(alone);
    const changes = order.filter((stream, i) => i > 0 && stream !== order[i - 1]).length;
    expect(changes).toBeGreaterThan(10);
  });

  it('more than there are slots wait their turn and finish', async () => {
    const options = { maxNewTokens: 10, ignoreEndToken: true };
    const expected = (await pipeline.generate('hello', options)).text;
    const texts = await Promise.all(Array.from({ length: 9 }, () => collect(pipeline.stream('hello', options))));
    expect(new Set(texts)).toEqual(new Set([expected]));
  });

  it('those that answer go on while a long prompt is read', async () => {
    const rows: number[] = [];
    const watch = definePlugin({
      name: 'watch',
      version: '1',
      fidelity: 'exact',
      step: (event) => void rows.push(event.rows),
    });
    const busy = await open({ plugins: [watch] });
    const long = Array.from({ length: 90 }, (_, i) => 5 + (i % 40));
    const options = { maxNewTokens: 60, ignoreEndToken: true };
    const alone = [];
    for (const prompt of [[5, 6, 7], long]) alone.push((await busy.generate(prompt, options)).tokens);
    rows.length = 0;
    const first = busy.generate([5, 6, 7], options);
    while (rows.length < 3) await new Promise((resolve) => setTimeout(resolve, 1));
    const second = busy.generate(long, options);
    expect((await Promise.all([first, second])).map(({ tokens }) => tokens)).toEqual(alone);
    expect(Math.max(...rows)).toBe(12);
    expect(rows.reduce((sum, count) => sum + count, 0)).toBe(3 + 59 + 90 + 59);
    await busy.dispose();
  });

  it('give way where the cache has no room, and say the same', async () => {
    // The tokens of all slots together may be 80.
    const tight = definePlugin({
      ...{ name: 'tight', version: '1', fidelity: 'exact', claims: ['kvCache'] as const },
      kvCache: (layout: KvLayout) => {
        const kv = contiguousKvCache(layout);
        const slots = Array.from({ length: layout.slots }, (_, slot) => slot);
        return {
          ...kv,
          reserve(lengths: ReadonlyMap<number, number>) {
            kv.reserve(lengths);
            if (slots.reduce((sum, slot) => sum + (lengths.get(slot) ?? kv.length(slot)), 0) > 80)
              throw new LlmoptError('LLMOPT_KV_BUDGET', 'No room for more than 80 tokens.');
          },
        };
      },
    });
    const small = await open({ plugins: [tight] });
    const options = { maxNewTokens: 30, ignoreEndToken: true };
    const prompts = Array.from({ length: 7 }, (_, i) =>
      Array.from({ length: 3 + 5 * i }, (_, k) => 5 + ((i + k) % 40)),
    );
    const alone = [];
    for (const prompt of prompts) alone.push((await pipeline.generate(prompt, options)).tokens);
    const all = await Promise.all(prompts.map((prompt) => small.generate(prompt, options)));
    expect(all.map(({ tokens }) => tokens)).toEqual(alone);
    expect(small.metrics()['scheduler.preemptions']).toBeGreaterThan(0);
    // One that will never fit ends with the error, and the others go on.
    const tooLong = small.generate(
      Array.from({ length: 79 }, () => 5),
      options,
    );
    const short = small.generate(prompts[0]!, options);
    await expect(tooLong).rejects.toMatchObject({ code: 'LLMOPT_KV_BUDGET' });
    expect((await short).tokens).toEqual(alone[0]);
    expect(small.memory().kv.liveBytes).toBe(0);
    await small.dispose();
  });

  it('end with the error of a cache that fails in idle time, and only when their step is over', async () => {
    let failing = true;
    const faulty = definePlugin({
      ...{ name: 'faulty', version: '1', fidelity: 'exact', claims: ['kvCache'] as const },
      kvCache: (layout: KvLayout) => ({
        ...contiguousKvCache(layout),
        idle() {
          if (failing) throw new Error('no idle hands');
          return false;
        },
      }),
    });
    const other = await open({ plugins: [faulty] });
    const options = { maxNewTokens: 5, ignoreEndToken: true };
    await expect(other.generate('hello', options)).rejects.toThrow('no idle hands');
    failing = false;
    // Were the step still running, this would be LLMOPT_BUSY.
    expect((await other.generate('hello', options)).tokens).toEqual((await pipeline.generate('hello', options)).tokens);
    await other.dispose();
  });

  it('an abort ends a stream within one step, and its slot is free again', async () => {
    const single = await open({ slots: 1 });
    const controller = new AbortController();
    const reason = new Error('enough');
    const stream = single.stream('hello', { maxNewTokens: 200, ignoreEndToken: true, signal: controller.signal });
    let pieces = 0;
    let after = 0;
    const reading = (async () => {
      for await (const _ of stream) {
        pieces++;
        if (controller.signal.aborted) after++;
        if (pieces === 3) controller.abort(reason);
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'LLMOPT_ABORTED', cause: reason });
    expect(after).toBeLessThanOrEqual(1);
    expect(single.memory().kv.liveBytes).toBe(0);
    expect((await single.generate('hello', { maxNewTokens: 3, ignoreEndToken: true })).tokens).toHaveLength(3);
    await single.dispose();
  });

  it('leaving the loop aborts the rest', async () => {
    const stream = pipeline.stream('hello', { maxNewTokens: 200, ignoreEndToken: true });
    for await (const _ of stream) break;
    await expect(stream.result).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
  });

  it('chat answers through the template', async () => {
    const messages = [{ role: 'user', content: 'hello' }];
    const stream = pipeline.chat(messages, { maxNewTokens: 6, ignoreEndToken: true });
    const text = await collect(stream);
    const direct = await pipeline.generate(pipeline.tokenizer.encodeChat(messages), {
      maxNewTokens: 6,
      ignoreEndToken: true,
    });
    expect(text).toBe(direct.text);
    expect((await stream.result).usage.inputTokens).toBe(direct.usage.inputTokens);
  });

  it('dispose ends what runs', async () => {
    const other = await open();
    const { result } = other.stream('hello', { maxNewTokens: 200, ignoreEndToken: true });
    await other.dispose();
    await expect(result).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
    await expect(other.generate('hello')).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });
});

describe('plugins in a pipeline', () => {
  const seen: string[] = [];
  const observer: Plugin = {
    name: 'observer',
    version: '1',
    fidelity: 'exact',
    claims: ['kvCache'],
    kvCache: (layout) => contiguousKvCache(layout),
    ready: () => void seen.push('ready'),
    sequenceStart: () => void seen.push('start'),
    prefillEnd: ({ promptLength }) => void seen.push(`prefill ${promptLength}`),
    token: () => void seen.push('token'),
    step: ({ rows }) => void seen.push(`step ${rows}`),
    sequenceEnd: ({ tokens, promptLength }) => void seen.push(`end ${tokens.length - promptLength}`),
    metrics: () => ({ 'observer.events': seen.length }),
    dispose: () => void seen.push('dispose'),
  };

  it('sees a request from beginning to end', async () => {
    const watched = await open({ plugins: [observer] });
    await watched.generate([5, 6, 7], { maxNewTokens: 3, ignoreEndToken: true });
    expect(watched.metrics()).toMatchObject({ 'observer.events': seen.length });
    await watched.dispose();
    // Of the last token nothing has to be computed: two steps follow the prompt's.
    expect(seen).toEqual([
      'ready',
      'start',
      'step 3',
      'prefill 3',
      'token',
      'step 1',
      'token',
      'step 1',
      'token',
      'end 3',
      'dispose',
    ]);
  });

  it('refuses two that claim the same, before anything is loaded', async () => {
    const stages: string[] = [];
    const other = { ...observer, name: 'other' };
    await expect(
      open({ plugins: [observer, other], onProgress: ({ stage }) => stages.push(stage) }),
    ).rejects.toMatchObject({
      code: 'LLMOPT_PLAN',
      message: expect.stringContaining('"observer" and "other" both claim kvCache'),
    });
    expect(stages).toEqual([]);
  });
});

describe('loading', () => {
  it('unpacks none of the lists that the file holds, which would be a value per token of a vocabulary', async () => {
    const checkpoint = await openGguf(model, { cacheDir: false });
    const { metadata } = checkpoint;
    const unpacked: string[] = [];
    const note = (key: string) => {
      if (metadata.packed?.(key)) unpacked.push(key);
    };
    const all = () => {
      for (const key of metadata.keys()) note(key);
      return metadata.entries();
    };
    const watched: typeof metadata = {
      ...metadata,
      get(key) {
        note(key);
        return metadata.get(key);
      },
      entries: all,
      [Symbol.iterator]: all,
    };
    const loaded = await open({ model: { ...checkpoint, metadata: watched } });
    await loaded.generate('hello', { maxNewTokens: 1 });
    await loaded.dispose();
    expect(unpacked).toEqual([]);
    expect(watched.get('tokenizer.ggml.merges')).toEqual([...tinyMerges]);
    expect(unpacked).toEqual(['tokenizer.ggml.merges']);
  });

  it('describes model, plan, memory and graph', () => {
    const text = pipeline.describe();
    expect(text).toMatch(
      /^model {4}.*tiny\.gguf: llama, 0\.1 M parameters, F32\nbackend {2}wasm: threads 2, precision int8, kv float32, profile false, vectorBits (128|256)\nplugins {2}none\nmemory {3}weights/,
    );
    expect(text).toContain('layer 1\n  1.attentionNorm');
  });

  it.each<[string, Partial<PipelineOptions>, string]>([
    ['a file that is not there', { model: '/nowhere/model.gguf' }, 'LLMOPT_MODEL_NOT_FOUND'],
    ['an unknown backend', { backend: 'tpu' as 'wasm' }, 'LLMOPT_OPTION_INVALID'],
    ['no slots', { slots: 0 }, 'LLMOPT_OPTION_INVALID'],
    ['a context of no tokens', { contextLength: 0 }, 'LLMOPT_OPTION_INVALID'],
    ['an aborted signal', { signal: AbortSignal.abort() }, 'LLMOPT_ABORTED'],
  ])('refuses %s', async (_, options, code) => {
    await expect(open(options)).rejects.toMatchObject({ code });
  });

  it('takes a value that a plugin of the caller adds, and returns it from forward as a copy', async () => {
    const slot = pipeline.acquireSlot()!;
    const batch = {
      tokens: [5, 6],
      slots: [slot, slot],
      positions: [0, 1],
      logits: [1],
      values: [{ name: '1.hidden', rows: [1] }],
    };
    const first = await pipeline.forward(batch);
    const kept = first.logits.slice();
    await pipeline.forward({ tokens: [7], slots: [slot], positions: [2], logits: [0] });
    expect(first.logits).toEqual(kept);
    expect(first.values['1.hidden']).toHaveLength(64);
    pipeline.releaseSlot(slot);
  });
});
