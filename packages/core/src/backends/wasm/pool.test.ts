import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../test/backends.ts';
import { wasm } from './index.ts';

it('starts threads with the first step, once', async () => {
  let started = 0;
  const count = () => {
    started++;
  };
  process.on('worker', count);
  try {
    const executable = await compile(wasm({ threads: 2 }), randomGraph());
    expect(started).toBe(0);
    await forwardAlone(executable, [1, 2, 3], 1);
    expect(started).toBe(2);
    await executable.dispose();
  } finally {
    process.off('worker', count);
  }
});

it('can be disposed before and while its threads start', async () => {
  const idle = await compile(wasm({ threads: 2 }), randomGraph());
  await idle.dispose();
  const busy = await compile(wasm({ threads: 2 }), randomGraph());
  const slot = busy.kv.acquire()!;
  const step = busy.forward({ tokens: [1], slots: [slot], positions: [0], logits: [0] });
  await busy.dispose();
  expect((await step).logits.length).toBeGreaterThan(0);
});

it('runs in a process that was started with options of its own', () => {
  const source = new URL('./readBandwidth.ts', import.meta.url).href;
  const code = `import { measureReadBandwidth } from '${source}';
    console.log((await measureReadBandwidth({ threads: 2, bytes: 2 ** 16, rounds: 1 })).gigabytesPerSecond > 0);`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
  expect({ stdout, stderr }).toMatchObject({ stdout: 'true\n' });
});
