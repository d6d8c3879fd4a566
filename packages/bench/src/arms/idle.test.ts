import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeTinyModel } from '../../../core/test/tinyModel.ts';
import { type ArmProcess, startArm } from './parent.ts';

let folder = '';
let idle: ArmProcess;
let busy: ArmProcess;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-idle-'));
  process.env.XDG_CACHE_HOME = join(folder, 'cache');
  const model = await writeTinyModel(join(folder, 'tiny.gguf'));
  idle = startArm('idle');
  busy = startArm('busy');
  const spec = { name: 'baseline' as const, model, backend: { name: 'wasm' as const, threads: 2 }, plugins: [] };
  for (const arm of [idle, busy]) await arm.call('load', { spec, prompts: ['hello world'], maxNewTokens: 128 });
}, 60_000);
afterAll(async () => {
  await Promise.all([idle?.stop(), busy?.stop()]);
  await rm(folder, { recursive: true, force: true });
});

const request = { prompt: 0, maxNewTokens: 128, ignoreEndToken: true };

describe('an idle arm', () => {
  it('uses no CPU while the other one runs, although its threads spin while they compute', async () => {
    await idle.call('run', request);
    const before = await idle.call('cpu', undefined);
    const start = performance.now();
    while (performance.now() - start < 1000) await busy.call('run', request);
    const wallSeconds = (performance.now() - start) / 1000;
    const after = await idle.call('cpu', undefined);
    const used = after.userSeconds + after.systemSeconds - before.userSeconds - before.systemSeconds;
    // A spinning thread would use all of the wall time; timers and garbage collection need a few milliseconds.
    expect(used / wallSeconds).toBeLessThan(0.05);
  }, 30_000);
});
