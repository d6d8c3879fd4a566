import { expect, it } from 'vitest';
import { forwardAlone, randomGraph } from '../../../test/backends.ts';
import type { Graph } from '../../graph/graph.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import { withChannels } from '../../testing/channelsOp.ts';
import { createArena } from './arena.ts';
import { compileWasm, type WasmSettings } from './executable.ts';

/** Logits of a prompt, and of single tokens, with everything behind so many bytes of memory that nobody touches. */
async function logitsBehind(bytes: number, graph: Graph, settings: Pick<WasmSettings, 'precision' | 'kv'>) {
  const arena = createArena();
  arena.allocate(bytes, 'nothing');
  const executable = await compileWasm(
    graph,
    { ...settings, threads: 2, profile: true, vectorBits: 128 },
    {
      ...{ slots: 2, contextLength: 64, maxRows: 32, kvCache: contiguousKvCache, modelKey: 'test' },
      cacheDir: undefined,
    },
    arena,
  );
  try {
    expect(arena.position()).toBeGreaterThan(bytes);
    const tokens = Array.from({ length: 40 }, (_, i) => (i * 29) % 101);
    const rows = [...(await forwardAlone(executable, tokens, 20)), ...(await forwardAlone(executable, tokens, 1))];
    const slot = executable.kv.acquire()!;
    const batch = { tokens: [5], slots: [slot], positions: [0], logits: [0] };
    const { values } = await executable.forward({ ...batch, values: [{ name: '1.key', rows: [0] }] });
    return [...rows, ...Object.values(values)].map((row) => Buffer.from(row.buffer).toString('base64'));
  } finally {
    await executable.dispose();
  }
}

// Addresses are 32 bits without a sign: behind 2 GiB they are negative numbers where somebody gives them one.
it.each([
  { precision: 'int8', kv: 'float32', graph: randomGraph({ width: 72, headDim: 20, ffn: 600 }) },
  { precision: 'int8', kv: 'int16', graph: randomGraph({ architecture: 'phi2', ffn: 600 }) },
  { precision: 'int8', kv: 'float32', graph: withChannels(randomGraph({ untied: true, ffn: 600 })) },
  { precision: 'float32', kv: 'float32', graph: withChannels(randomGraph({ architecture: 'phi2' })) },
] as const)('gives the same bits behind 2 GiB: $precision, keys and values $kv', async ({ graph, ...settings }) => {
  const low = await logitsBehind(0, graph, settings);
  expect(await logitsBehind(2.5 * 2 ** 30, graph, settings)).toEqual(low);
  // Some lie in front of the border, some behind it.
  expect(await logitsBehind(2 ** 31 - 200_000, graph, settings)).toEqual(low);
});
