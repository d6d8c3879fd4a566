import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseServeResult } from '@llmopt/schema';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { serveReport } from '../report/serveTable.ts';
import { runServe } from './serve.ts';

let folder = '';
let model = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-serve-'));
  vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
  model = await writeTinyModel(join(folder, 'tiny.gguf'), { type: 'Q8_0' });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const read = async (file: string) => parseServeResult(JSON.parse(await readFile(file, 'utf8')));

describe('runServe', () => {
  it('replays one workload under every policy, and draws it', async () => {
    const output = join(folder, 'all.json');
    const plots = join(folder, 'plots');
    const trace = join(folder, 'trace.jsonl');
    const policies = ['fixed-zeroed', 'fixed', 'grow-copy', 'vattention'] as const;
    const result = await runServe({
      ...{ model, output, plots, trace, policies, threads: 1, requests: 12, concurrency: [1, 3] },
      vattention: { reclaim: 'eager' },
    });
    expect(await read(output)).toEqual(result);
    expect(result.runs.map(({ name, concurrency }) => `${name} ${concurrency}`)).toEqual(
      [1, 3].flatMap((concurrency) => policies.map((name) => `${name} ${concurrency}`)),
    );
    expect(result).toMatchObject({ settings: { contextLength: 256, requests: 12, vattention: { reclaim: 'eager' } } });
    const [first] = result.runs;
    for (const { concurrency, failures, mostHeld, memory, requests } of result.runs) {
      expect(failures).toEqual({});
      expect(mostHeld).toBe(concurrency);
      expect(memory.samples[0]?.reservedBytes).toBeGreaterThan(0);
      expect(memory.samples.at(-1)).toMatchObject({ liveBytes: 0 });
      expect(requests.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens])).toEqual(
        first?.requests.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens]),
      );
    }
    expect((await readdir(plots)).sort()).toEqual(
      ['kv_memory', 'latency'].flatMap((name) => [`${name}.png`, `${name}.svg`]),
    );
    expect(serveReport(result)).toContain('12 requests, closed; slots of 256 tokens');
    // The trace that was written is what is read now.
    const again = await runServe({
      model,
      output,
      plots: false,
      trace,
      policies: ['fixed'],
      threads: 1,
      concurrency: [1],
    });
    expect(again.runs[0]?.requests.map(({ promptTokens }) => promptTokens)).toEqual(
      first?.requests.map(({ promptTokens }) => promptTokens),
    );
  }, 120_000);

  it('sends the same workload to node-llama-cpp, with as many sequences', async () => {
    const output = join(folder, 'peer.json');
    const result = await runServe({
      ...{ model, output, plots: false, policies: ['fixed'], peers: ['node-llama-cpp'], threads: 1 },
      ...{ requests: 6, concurrency: [3], promptTokens: 20, newTokens: 12 },
    });
    expect(result.runs.map(({ name }) => name)).toEqual(['fixed', 'node-llama-cpp Q8_0']);
    for (const { failures, requests } of result.runs) {
      expect(failures).toEqual({});
      expect(requests.every(({ promptTokens, outputTokens }) => promptTokens === 20 && outputTokens === 12)).toBe(true);
    }
    expect(result.runs[1]).toMatchObject({ kind: 'peer', slots: 3, settings: { sequences: 3 } });
  }, 120_000);

  it('refuses a request that has no room, before anything is run', async () => {
    const output = join(folder, 'none.json');
    await expect(runServe({ model, output, plots: false, promptTokens: 250, newTokens: 10 })).rejects.toMatchObject({
      code: 'LLMOPT_PROMPT_TOO_LONG',
      message: expect.stringContaining('Request 1 has 250 tokens; with 10 new ones it exceeds the context of 256'),
    });
    await expect(readdir(folder)).resolves.not.toContain('none.json');
  });

  it('keeps what was measured when it is interrupted', async () => {
    const output = join(folder, 'cut.json');
    const controller = new AbortController();
    const reporter = {
      stage: (title: string) => {
        if (title.startsWith('fixed, 2')) controller.abort();
      },
      ...{ progress() {}, note() {}, end() {} },
    };
    const run = runServe(
      { model, output, plots: false, policies: ['fixed'], threads: 1, requests: 4, concurrency: [1, 2] },
      { reporter, signal: controller.signal },
    );
    await expect(run).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await read(output)).toMatchObject({ incomplete: true, runs: [{ concurrency: 1 }] });
  }, 60_000);
});
