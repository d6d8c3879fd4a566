import { expect, it } from 'vitest';
import { createArena } from './arena.ts';
import { compileModule } from './kernelModules.ts';
import { measureReadBandwidth } from './readBandwidth.ts';

it.each([128, 256] as const)('reads every byte once, whatever the number of threads, with %s bits', (vectorBits) => {
  const { memory, allocate } = createArena();
  const bytes = 64 * 37;
  const from = allocate(bytes, 'input');
  const out = allocate(64 * 8, 'output');
  const args = allocate(12, 'arguments');
  new Int32Array(memory.buffer, args, 3).set([from, bytes, out]);
  const { exports } = new WebAssembly.Instance(compileModule('core', vectorBits), { env: { memory } });
  const readMemory = exports.readMemory as (args: number, thread: number, threads: number) => void;
  const input = new Uint8Array(memory.buffer, from, bytes);
  const seen = () =>
    [...new Uint8Array(memory.buffer, out, 64 * 8)].reduce((sum, byte) => sum + (byte === 0 ? 0 : 1), 0);
  for (const threads of [1, 2, 3, 8]) {
    for (const at of [0, 63, 64, 1000, bytes - 1]) {
      input.fill(0);
      input[at] = 7;
      for (let thread = 0; thread < threads; thread++) readMemory(args, thread, threads);
      expect(seen(), `byte ${at}, ${threads} threads`).toBe(1);
    }
  }
});

it('gives a number that means something', async () => {
  const { gigabytesPerSecond } = await measureReadBandwidth({ threads: 2, bytes: 2 ** 20, rounds: 2 });
  expect(gigabytesPerSecond).toBeGreaterThan(0);
  expect(Number.isFinite(gigabytesPerSecond)).toBe(true);
});

it.each([{ threads: 0 }, { bytes: 63 }, { bytes: 2 ** 32 }, { rounds: 0 }, { vectorBits: 512 as 256 }])(
  'refuses %j',
  async (options) => {
    await expect(measureReadBandwidth(options)).rejects.toMatchObject({ code: 'LLMOPT_OPTION_INVALID' });
  },
);
