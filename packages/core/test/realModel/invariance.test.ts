import { expect, it } from 'vitest';
import { wasm } from '../../src/backends/wasm/index.ts';
import { forwardAlone } from '../backends.ts';
import { compileFile, realModelPath } from './model.ts';
import { parityFixture } from './parityFixture.ts';

it.each(['int8', 'float32'] as const)(
  'the real model gives the same bits for any chunking and any number of threads (%s)',
  { timeout: 300_000 },
  async (precision) => {
    const tokens = parityFixture().window(0).slice(0, 50);
    const file = await realModelPath();
    const runs: Buffer[] = [];
    for (const { threads, chunk } of [
      { threads: 1, chunk: 50 },
      { threads: 2, chunk: 1 },
      { threads: 3, chunk: 7 },
      { threads: 4, chunk: 50 },
    ]) {
      const { executable, dispose } = await compileFile(file, wasm({ precision, threads }));
      const rows = await forwardAlone(executable, tokens, chunk);
      await dispose();
      runs.push(Buffer.concat(rows.map((row) => new Uint8Array(row.buffer))));
    }
    for (const run of runs) expect(run.equals(runs[0]!)).toBe(true);
  },
);
