import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../test/backends.ts';
import { mapOps, type Param, withParams } from '../../graph/graph.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import { defineOp } from '../../ops/define.ts';
import type { CustomOp } from '../../ops/op.ts';
import type { Batch, CompileOptions, Executable } from '../backend.ts';
import { wasm } from './index.ts';

const one = (executable: Executable, rest: Partial<Batch> = {}): Batch => {
  const slot = executable.kv.acquire()!;
  return { tokens: [1], slots: [slot], positions: [0], logits: [0], ...rest };
};

describe('an executable', () => {
  let executable: Executable;
  beforeEach(async () => {
    executable = await compile(wasm({ threads: 2, precision: 'float32' }), randomGraph());
  });
  afterEach(() => executable.dispose());

  it('refuses a second forward while one runs, and goes on with the first', async () => {
    const batch = one(executable);
    const first = executable.forward(batch);
    await expect(executable.forward({ ...batch, positions: [1] })).rejects.toMatchObject({ code: 'LLMOPT_BUSY' });
    expect((await first).logits).toHaveLength(101);
    expect(executable.kv.length(batch.slots[0]!)).toBe(1);
  });

  it.each([
    ['no rows', { tokens: [], slots: [], positions: [], logits: [] }, 'LLMOPT_BATCH_INVALID'],
    ['columns of different lengths', { positions: [0, 1] }, 'LLMOPT_BATCH_INVALID'],
    ['fewer marks of prompt rows than rows', { prompt: [] }, 'LLMOPT_BATCH_INVALID'],
    ['a mark that is neither 0 nor 1', { prompt: [2] }, 'LLMOPT_BATCH_INVALID'],
    ['a slot that is not taken', { slots: [2] }, 'LLMOPT_BATCH_INVALID'],
    ['a gap in the positions', { positions: [1] }, 'LLMOPT_BATCH_INVALID'],
    ['logits of a row that is not there', { logits: [1] }, 'LLMOPT_BATCH_INVALID'],
    ['an unknown value', { values: [{ name: 'nothing', rows: [0] }] }, 'LLMOPT_BATCH_INVALID'],
    ['a token outside the vocabulary', { tokens: [101] }, 'LLMOPT_TOKEN_INVALID'],
    ['a token that is no integer', { tokens: [0.5] }, 'LLMOPT_TOKEN_INVALID'],
  ])('refuses %s and has moved nothing', async (_, rest, code) => {
    const batch = one(executable, rest);
    await expect(executable.forward(batch)).rejects.toMatchObject({ code });
    expect(executable.kv.length(0)).toBe(0);
  });

  it('refuses a sequence that leaves its slot', async () => {
    const slot = executable.kv.acquire()!;
    const rows = Array.from({ length: 32 }, (_, i) => i);
    const batch = (from: number): Batch => ({
      tokens: rows,
      slots: rows.map(() => slot),
      positions: rows.map((i) => from + i),
      logits: [],
    });
    await executable.forward(batch(0));
    await executable.forward(batch(32));
    await expect(executable.forward({ tokens: [1], slots: [slot], positions: [64], logits: [] })).rejects.toMatchObject(
      { code: 'LLMOPT_KV_FULL' },
    );
    expect(executable.kv.length(slot)).toBe(64);
  });

  it('leaves the event loop free while it computes', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const slot = executable.kv.acquire()!;
    for (let i = 0; i < 60; i++) await executable.forward({ tokens: [i], slots: [slot], positions: [i], logits: [0] });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });

  it('returns wanted values of chosen rows, in the order asked for', async () => {
    const slot = executable.kv.acquire()!;
    const batch = { tokens: [5, 6, 7], slots: [slot, slot, slot], positions: [0, 1, 2], logits: [2] };
    const all = await executable.forward({ ...batch, values: [{ name: '1.hidden', rows: [0, 1, 2] }] });
    executable.kv.truncate(slot, 0);
    const some = await executable.forward({
      ...batch,
      values: [
        { name: '1.hidden', rows: [2, 0] },
        { name: 'final', rows: [0] },
      ],
    });
    const row = (i: number) => [...all.values['1.hidden']!.subarray(i * 48, (i + 1) * 48)];
    expect([...some.values['1.hidden']!]).toEqual([...row(2), ...row(0)]);
    expect(some.values.final).toHaveLength(48);
  });

  it('rejects after dispose', async () => {
    const batch = one(executable);
    await executable.dispose();
    await expect(executable.forward(batch)).rejects.toMatchObject({ code: 'LLMOPT_DISPOSED' });
  });
});

it('rejects with a typed error when a worker dies, and the process lives', async () => {
  // An op whose kernel traps: (module (import "env" "memory" (memory 1 65536 shared)) (func (export "boom") (param i32 i32 i32) unreachable))
  const trap = Buffer.from(
    '0061736d0100000001070160037f7f7f00021201' +
      '03656e76066d656d6f727902030180800403' +
      '02010007080104626f6f6d00000a05010300000b',
    'hex',
  );
  const definition = defineOp({
    kind: 'test.trap',
    shape: (_op, context) => ({ output: context.value('input', 'float') }),
    kernels: {
      reference: () => {},
      wasm: {
        module: { name: 'test', abiVersion: 2, base64: trap.toString('base64') },
        lower: () => [{ kernel: 'boom', args: [] }],
      },
    },
  });
  const graph = mapOps(randomGraph(), (op) =>
    op.kind === 'selectRows'
      ? [
          op,
          {
            kind: 'test.trap',
            inputs: { input: op.inputs.input },
            outputs: { output: 'trapped' },
            params: {},
            attributes: {},
            definition,
          } satisfies CustomOp,
        ]
      : op,
  );
  const executable = await compile(wasm({ threads: 2 }), graph);
  const batch = one(executable);
  await expect(executable.forward(batch)).rejects.toMatchObject({ code: 'LLMOPT_WORKER_DIED' });
  await expect(executable.forward(batch)).rejects.toMatchObject({ code: 'LLMOPT_WORKER_DIED' });
  expect(executable.kv.length(batch.slots[0]!)).toBe(0);
  await executable.dispose();
});

it('rejects with a typed error when the memory cannot grow', async () => {
  await expect(compile(wasm(), randomGraph(), { slots: 1000, contextLength: 100_000 })).rejects.toMatchObject({
    code: 'LLMOPT_OUT_OF_MEMORY',
  });
});

it.each([
  ...[{ threads: 0 }, { threads: 1.5 }, { threads: 65 }, { precision: 'int4' as 'int8' }],
  ...[{ kv: 'int4' as 'int16' }, { vectorBits: 512 as 256 }],
])('refuses %j', (options) => {
  expect(() => wasm(options)).toThrow(expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' }));
});

it('packs parameters of one key once, to the same bits', async () => {
  const graph = randomGraph();
  let reads = 0;
  const shared = (key: (name: string) => string) =>
    withParams(
      graph,
      [...graph.params].map(([name, param]) => {
        const first = graph.params.get(name.replace('blk.1.', 'blk.0.'))!;
        const read: Param['read'] = (rows) => {
          reads++;
          return first.read(rows);
        };
        return [name, { ...param, key: key(name), read }] as const;
      }),
    );
  const run = async (key: (name: string) => string) => {
    reads = 0;
    const executable = await compile(wasm({ threads: 2 }), shared(key));
    const rows = await forwardAlone(executable, [1, 2, 3]);
    await executable.dispose();
    return { reads, logits: rows.map((row) => [...row]) };
  };
  const each = await run((name) => name);
  const once = await run((name) => name.replace(/^blk\.\d+/, ''));
  expect(once.logits).toEqual(each.logits);
  // Nine parameters of the second layer were not read.
  expect(once.reads).toBe(each.reads - 9);
});

describe('the cache of packed weights', () => {
  let cacheDir: string;
  beforeEach(async () => {
    cacheDir = await mkdtemp(path.join(tmpdir(), 'llmopt-packed-'));
  });
  afterEach(() => rm(cacheDir, { recursive: true }));

  const stages = new Set<string>();
  async function logits(options: Partial<CompileOptions> = {}, precision: 'int8' | 'float32' = 'int8') {
    stages.clear();
    const executable = await wasm({ threads: 2, precision }).compile(randomGraph(), {
      ...{ slots: 1, contextLength: 64, maxRows: 32, kvCache: contiguousKvCache, modelKey: 'a', cacheDir },
      onProgress: ({ stage }) => stages.add(stage),
      ...options,
    });
    const rows = await forwardAlone(executable, [1, 2, 3]);
    await executable.dispose();
    return rows.map((row) => [...row]);
  }

  it('gives the same bits, and packs only once', async () => {
    const fresh = await logits();
    expect(stages).toContain('pack');
    expect(await logits()).toEqual(fresh);
    expect(stages).not.toContain('pack');
    expect(await readdir(cacheDir)).toHaveLength(1);
  });

  it('keeps models and precisions apart', async () => {
    await logits();
    await logits({ modelKey: 'b' });
    expect(stages).toContain('pack');
    await logits({}, 'float32');
    expect(stages).toContain('pack');
    expect(await readdir(cacheDir)).toHaveLength(3);
  });

  it.each([
    ['cut', (bytes: Buffer) => bytes.subarray(0, bytes.length - 100)],
    ['damaged', (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === bytes.length - 50 ? byte ^ 1 : byte)))],
    ['empty', () => Buffer.alloc(0)],
  ])('packs again when the file is %s', async (_, damage) => {
    const fresh = await logits();
    const [name] = await readdir(cacheDir);
    const file = path.join(cacheDir, name!);
    await writeFile(file, damage(await readFile(file)));
    expect(await logits()).toEqual(fresh);
    expect(stages).toContain('pack');
  });

  it('works without a folder that can be written', async () => {
    await writeFile(path.join(cacheDir, 'file'), '');
    expect(await logits({ cacheDir: path.join(cacheDir, 'file') })).toEqual(await logits({ cacheDir: undefined }));
  });
});

it('keeps times per op kind and layer that add up to the steps', async () => {
  const executable = await compile(wasm({ threads: 2, profile: true }), randomGraph());
  await forwardAlone(executable, [1, 2, 3, 4, 5, 6, 7, 8], 1);
  const { steps, stepMilliseconds, entries } = executable.profile()!;
  await executable.dispose();
  expect(steps).toBe(8);
  const sum = entries.reduce((total, { milliseconds }) => total + milliseconds, 0);
  expect(Math.abs(sum / stepMilliseconds - 1)).toBeLessThan(0.1);
  const seen = new Set(entries.map(({ kind, layer }) => `${kind} ${layer}`));
  for (const layer of [0, 1]) {
    for (const kind of ['rmsNorm', 'linear', 'rope', 'attention', 'gatedAct', 'add'])
      expect(seen).toContain(`${kind} ${layer}`);
  }
  expect(seen).toContain('linear undefined');
});

it('tells what every kernel did, by shape', async () => {
  const graph = randomGraph();
  const executable = await compile(wasm({ threads: 2, profile: true }), graph);
  await forwardAlone(executable, [1, 2, 3, 4, 5, 6], 4);
  const slot = executable.kv.acquire()!;
  await executable.forward({ tokens: [1], slots: [slot], positions: [0], logits: [] });
  const { kernels, entries } = executable.profile()!;
  await executable.dispose();
  // Two layers, three batches of 4, 2 and 1 rows; q|k|v and gate|up are one call each.
  const linear = (shape: string) => kernels.find((kernel) => kernel.kernel === 'linearInt8' && kernel.shape === shape)!;
  expect(linear('48x96')).toMatchObject({ calls: 6, operations: 2 * 2 * 48 * 96 * 7 });
  expect(linear('48x160')).toMatchObject({ calls: 6, operations: 2 * 2 * 48 * 160 * 7 });
  expect(linear('80x48').bytes).toBeGreaterThanOrEqual(6 * 80 * 48);
  // Without logits the head reads nothing.
  const head = kernels.find(({ kernel }) => kernel === 'headInt8')!;
  expect(head).toMatchObject({ shape: '48x101', calls: 3, operations: 2 * 48 * 101 * 6 });
  expect(head.bytes % 2).toBe(0);
  const sum = (times: readonly { milliseconds: number }[]) =>
    times.reduce((total, { milliseconds }) => total + milliseconds, 0);
  expect(sum(kernels)).toBeCloseTo(sum(entries.filter(({ kind }) => kind !== 'handOver')), 6);
});

it('keeps no times unless asked to', async () => {
  const executable = await compile(wasm(), randomGraph());
  expect(executable.profile()).toBeUndefined();
  await executable.dispose();
});
