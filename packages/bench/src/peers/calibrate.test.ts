import { LlmoptError } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import type { ArmProcess, CallOptions } from '../arms/parent.ts';
import type { RunReport, RunRequest } from '../arms/protocol.ts';
import { type CalibrationOptions, calibrate } from './calibrate.ts';
import type { PeerSetting } from './protocol.ts';

/** Tokens per second of a setting, request by request; an error if it fails. */
type Speeds = Record<string, { decode: number[]; prefill: number } | Error>;

function fakeEngine(speeds: Speeds) {
  const started: string[] = [];
  const stopped: string[] = [];
  const requests: RunRequest[] = [];
  const timeouts: Record<string, number> = {};
  const start = ({ name }: PeerSetting): ArmProcess => {
    started.push(name);
    let request = 0;
    return {
      name,
      pid: 0,
      stop: async () => void stopped.push(name),
      async call(call, input, { timeoutMs = 0 }: CallOptions = {}) {
        timeouts[name] ??= timeoutMs;
        if (call === 'loadPeer') return { loadSeconds: 0, settings: {} } as never;
        requests.push(input as RunRequest);
        const speed = speeds[name];
        if (!speed || speed instanceof Error) throw speed ?? new Error(`no speed for ${name}`);
        const timings: Partial<RunReport['timings']> = {
          timePerOutputTokenMs: 1000 / (speed.decode[request++] as number),
          prefillTokensPerSecond: speed.prefill,
        };
        return { timings } as never;
      },
    };
  };
  const options: CalibrationOptions = {
    name: 'engine',
    start,
    load: { engine: 'node-llama-cpp', file: 'm.gguf', prompts: [[1], [1, 2, 3], [1, 2]], maxNewTokens: 48 },
    cores: 2,
    limits: { patienceMs: 9_000, leastMs: 2_000 },
  };
  return { options, started, stopped, requests, timeouts };
}

const hangs = new LlmoptError('LLMOPT_BENCH_FAILED', "The engine arm did not answer 'run' within 2.0 s.");

describe('calibrate', () => {
  it('lists every setting with the middle of three requests, and finds the best of each kind', async () => {
    const engine = fakeEngine({
      '1 thread': { decode: [90, 10, 100], prefill: 400 },
      '2 threads': { decode: [80, 80, 500], prefill: 800 },
      '2 threads, UV_THREADPOOL_SIZE=1': { decode: [130, 120, 125], prefill: 700 },
      default: hangs,
    });
    const { tried, decode, prefill } = await calibrate(engine.options);
    const rounded = tried.map(({ setting, decodeTokensPerSecond, failure }) => [
      setting.name,
      failure ?? Math.round(decodeTokensPerSecond as number),
    ]);
    expect(rounded).toEqual([
      ['1 thread', 90],
      ['2 threads', 80],
      ['2 threads, UV_THREADPOOL_SIZE=1', 125],
      ['default', hangs.message],
    ]);
    expect(decode.setting).toEqual({ name: '2 threads, UV_THREADPOOL_SIZE=1', threads: 2, poolThreads: 1 });
    expect(prefill.setting).toEqual({ name: '2 threads', threads: 2 });
    expect(engine.stopped).toEqual(engine.started);
    // The longest prompt, past the end token.
    for (const request of engine.requests) {
      expect(request).toEqual({ prompt: 1, maxNewTokens: 48, ignoreEndToken: true });
    }
  });

  it('has patience with the first setting only', async () => {
    const speed = { decode: [1, 1, 1], prefill: 1 };
    const pooled = '2 threads, UV_THREADPOOL_SIZE=1';
    const engine = fakeEngine({ '1 thread': speed, '2 threads': hangs, [pooled]: hangs, default: hangs });
    await calibrate(engine.options);
    const limits = Object.entries(engine.timeouts).map(([name, ms]) => [name, Math.ceil(ms / 1000)]);
    expect(limits).toEqual([
      ['1 thread', 9],
      ['2 threads', 2],
      [pooled, 2],
      ['default', 2],
    ]);
  });

  it('tries the default with a small pool where it works, and nothing twice on one core', async () => {
    const speed = { decode: [1, 1, 1], prefill: 1 };
    const engine = fakeEngine({ '1 thread': speed, default: speed, 'default, UV_THREADPOOL_SIZE=1': speed });
    await calibrate({ ...engine.options, cores: 1 });
    expect(engine.started).toEqual(['1 thread', 'default', 'default, UV_THREADPOOL_SIZE=1']);
  });

  it('says what happened to each setting when none works', async () => {
    const names = ['1 thread', '2 threads', '2 threads, UV_THREADPOOL_SIZE=1', 'default'];
    const engine = fakeEngine(Object.fromEntries(names.map((name) => [name, hangs])));
    await expect(calibrate(engine.options)).rejects.toMatchObject({
      code: 'LLMOPT_BENCH_FAILED',
      problems: names.map((name) => `${name}: ${hangs.message}`),
    });
    expect(engine.stopped).toEqual(engine.started);
  });

  it('ends at once when it is stopped', async () => {
    const engine = fakeEngine({ '1 thread': new LlmoptError('LLMOPT_ABORTED', 'stopped') });
    await expect(calibrate(engine.options)).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(engine.started).toEqual(['1 thread']);
    expect(engine.stopped).toEqual(['1 thread']);
  });
});
