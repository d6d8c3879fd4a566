import { channelLists, checkGraph, contiguousKvCache, describeGraph, type LinearOp, wasm } from '@llmopt/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createArena } from '../../core/src/backends/wasm/arena.ts';
import { compileWasm } from '../../core/src/backends/wasm/executable.ts';
import { compile, forwardAlone, forwardPieces, randomGraph } from '../../core/test/backends.ts';
import { quantizedGraph } from '../../core/test/quantizedGraph.ts';
import { larosa } from './larosa.ts';
import { sparsifyGraph } from './selection/sparsifyGraph.ts';

const sparse = async (sparsity: number, sizes: Parameters<typeof randomGraph>[0] = {}) =>
  larosa({ sparsity }).graph!(randomGraph(sizes));

describe('larosa', () => {
  it('puts one list in front of each input of a layer, which describe shows', async () => {
    const graph = await sparse(0.5, { layers: 1, width: 48, ffn: 80 });
    const text = describeGraph(graph);
    expect(graph.ops.filter((op) => op.kind === 'larosa.sparsify')).toHaveLength(4);
    expect(text).toContain(
      '0.attentionNorm.channels [rows, ≤48] = larosa.sparsify(0.attentionNorm, keep=28, prefill=dense)',
    );
    expect(text).toContain(
      '0.query [rows, 48] = linear(0.attentionNorm, channels=0.attentionNorm.channels, blk.0.attn_q.weight [48, 48])',
    );
    expect(text).toContain('0.gated.channels [rows, ≤80] = larosa.sparsify(0.gated, keep=24, prefill=dense)');
    // The head stays dense.
    expect(text).toContain('logits [logit rows, 101] = linear(final, token_embd.weight [101, 48])');
    expect(() => checkGraph(graph)).not.toThrow();
  });

  it('makes no list where all channels stay alive', () => {
    const { rewritten, skipped } = sparsifyGraph(randomGraph({ width: 48, ffn: 80, layers: 1 }), (site, width) =>
      site === 'ffnMiddle' ? 20 : width,
    );
    expect(channelLists(rewritten)).toEqual(['0.gated.channels']);
    expect(skipped).toBe(60 * 48);
  });

  it('takes what a parallel block reads for one input, and its activation for the middle', async () => {
    const graph = await sparse(0.5, { architecture: 'phi2', layers: 1, width: 48, ffn: 80 });
    const kept = graph.ops.flatMap((op) =>
      op.kind === 'larosa.sparsify' ? [[op.inputs.input, op.attributes.keep]] : [],
    );
    expect(kept).toEqual([
      ['0.attentionNorm', 28],
      ['0.attention', 16],
      ['0.activated', 24],
    ]);
    const lists = graph.ops.flatMap((op) => (op.kind === 'linear' ? [op.inputs.channels] : []));
    expect(lists.filter((list) => list === '0.attentionNorm.channels')).toHaveLength(4);
  });

  it.each(['int8', 'float32'] as const)('with sparsity 0 changes not one bit (%s)', async (precision) => {
    const tokens = Array.from({ length: 20 }, (_, i) => (i * 29) % 101);
    const logits = async (graph: Parameters<typeof compile>[1]) => {
      const executable = await compile(wasm({ precision, threads: 2 }), graph);
      // A prompt and single tokens: both ways through the kernels.
      const rows = [...(await forwardAlone(executable, tokens)), ...(await forwardAlone(executable, tokens, 1))];
      await executable.dispose();
      return rows.map((row) => Buffer.from(row.buffer).toString('base64'));
    };
    expect(await logits(await sparse(0, { ffn: 600 }))).toEqual(await logits(randomGraph({ ffn: 600 })));
  });

  it('multiplies what is alive, and only that', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer({ min: 1, max: 1e6 }),
          sparsity: fc.double({ min: 0.05, max: 0.7, noNaN: true }),
          threads: fc.integer({ min: 1, max: 3 }),
          width: fc.integer({ min: 8, max: 80 }),
          ffn: fc.constantFrom(150, 1100),
          rows: fc.constantFrom(1, 2, 5),
        }),
        async ({ seed, sparsity, threads, width, ffn, rows }) => {
          const graph = await sparse(sparsity, { seed, width, ffn, layers: 1 });
          const weights = await quantizedGraph(graph);
          const linears = graph.ops.filter((op) => op.kind === 'linear' && op.inputs.channels !== undefined);
          const executable = await compile(wasm({ threads }), graph);
          const all = Array.from({ length: rows }, (_, i) => i);
          const slot = executable.kv.acquire()!;
          const names = new Set(
            linears.flatMap((op) => [...Object.values<string>(op.inputs), ...Object.values(op.outputs)]),
          );
          const { values } = await executable.forward({
            tokens: all.map((i) => (i * 7 + seed) % 101),
            slots: all.map(() => slot),
            positions: all,
            logits: [],
            values: [...names].map((name) => ({ name, rows: all })),
          });
          await executable.dispose();
          for (const op of linears as LinearOp[]) {
            const weight = weights.params.get(op.params.weight)!;
            const [outputs, inputs] = weight.shape as [number, number];
            const numbers = await weight.read();
            const x = values[op.inputs.input]!;
            const alive = values[op.inputs.channels!]!;
            const y = values[op.outputs.output]!;
            const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
            for (let i = 0; i < y.length; i++) {
              const row = Math.floor(i / outputs) * inputs;
              let sum = 0;
              for (let c = 0; c < inputs; c++)
                sum += numbers[(i % outputs) * inputs + c]! * x[row + c]! * alive[row + c]!;
              // Activations have steps of 1/29,000 of the largest.
              expect(Math.abs(y[i]! - sum) / largest, op.outputs.output).toBeLessThan(1e-3);
            }
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it.each(['int8', 'float32'] as const)('keeps the invariance law (%s)', { timeout: 120_000 }, async (precision) => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer({ min: 1, max: 1e6 }),
          sparsity: fc.double({ min: 0.05, max: 0.7, noNaN: true }),
          threads: fc.integer({ min: 1, max: 4 }),
          // Short and long rows of weights, which are skipped in different ways.
          ffn: fc.constantFrom(600, 1100),
          chunk: fc.integer({ min: 1, max: 12 }),
          length: fc.integer({ min: 1, max: 20 }),
          // Rows of the prompt keep all channels.
          promptLength: fc.integer({ min: 0, max: 20 }),
          score: fc.constantFrom('magnitude', 'weighted'),
          threshold: fc.constantFrom(undefined, undefined, 0.5),
        }),
        async ({ seed, sparsity, threads, ffn, chunk, length, promptLength, score, threshold }) => {
          const dense = randomGraph({ seed, width: 72, headDim: 20, ffn });
          const graph =
            threshold === undefined
              ? await larosa({ sparsity, score }).graph!(dense)
              : sparsifyGraph(dense, () => ({ threshold }), { score }).rewritten;
          const tokens = Array.from({ length }, (_, i) => (i * 7 + seed) % 101);
          const one = await compile(wasm({ precision, threads: 1 }), graph);
          const many = await compile(wasm({ precision, threads }), graph);
          try {
            const expected = await forwardAlone(one, tokens, 1, promptLength);
            // A second sequence shares every batch.
            const slots = [many.kv.acquire()!, many.kv.acquire()!] as const;
            for (let at = 0; at < length; at += chunk) {
              const piece = tokens.slice(at, at + chunk);
              const rows = await forwardPieces(many, [
                { slot: slots[1], tokens: [at % 101] },
                { slot: slots[0], tokens: piece, promptLength },
              ]);
              piece.forEach((_, i) => {
                expect(Buffer.from(rows[i + 1]!.buffer).equals(Buffer.from(expected[at + i]!.buffer))).toBe(true);
              });
            }
          } finally {
            await one.dispose();
            await many.dispose();
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  it('gives the same bits behind 2 GiB, where addresses are negative numbers for who gives them a sign', async () => {
    // The second has records of 2,200 bytes, of which few enough are read.
    for (const graph of [await sparse(0.4), await sparse(0.6, { ffn: 1100 })]) {
      const logitsBehind = async (bytes: number) => {
        const arena = createArena();
        arena.allocate(bytes, 'nothing');
        const settings = { threads: 2, precision: 'int8', kv: 'float32', profile: false, vectorBits: 128 } as const;
        const sizes = { slots: 1, contextLength: 64, maxRows: 32, modelKey: 'test', cacheDir: undefined };
        const executable = await compileWasm(graph, settings, { ...sizes, kvCache: contiguousKvCache }, arena);
        const rows = [
          ...(await forwardAlone(executable, [1, 2, 3])),
          ...(await forwardAlone(executable, [1, 2, 3], 1)),
        ];
        await executable.dispose();
        return rows.map((row) => Buffer.from(row.buffer).toString('base64'));
      };
      expect(await logitsBehind(2.5 * 2 ** 30)).toEqual(await logitsBehind(0));
    }
  });

  it('knows the sites of Phi, whose attention and perceptron read the same input', async () => {
    const graph = await sparse(0.5, { architecture: 'phi2', layers: 1, width: 48, ffn: 80 });
    const text = describeGraph(graph);
    expect(graph.ops.filter((op) => op.kind === 'larosa.sparsify')).toHaveLength(3);
    expect(text).toContain(
      '0.attentionNorm.channels [rows, ≤48] = larosa.sparsify(0.attentionNorm, keep=28, prefill=dense)',
    );
    expect(text).toContain('0.activated.channels [rows, ≤80] = larosa.sparsify(0.activated, keep=24, prefill=dense)');
  });

  it('scores by the norms of the columns of all projections that share an input', async () => {
    const graph = await larosa({ sparsity: 0.5, score: 'weighted' }).graph!(randomGraph({ width: 48, ffn: 80 }));
    expect(describeGraph(graph)).toContain(
      '1.ffnNorm.channels [rows, ≤48] = larosa.sparsify(1.ffnNorm, 1.ffnNorm.channels.norms [48], keep=28, prefill=dense)',
    );
    const weights = ['gate', 'up'].map((name) => graph.params.get(`blk.1.ffn_${name}.weight`)!);
    const numbers = await Promise.all(weights.map((weight) => weight.read()));
    const column = numbers.flatMap((all) => [...all].filter((_, i) => i % 48 === 7));
    const norms = await graph.params.get('1.ffnNorm.channels.norms')!.read();
    expect(norms[7]).toBeCloseTo(Math.hypot(...column), 5);
  });

  it.each([
    ['a threshold below 0', { threshold: -1 }, 'the threshold is -1, not a number from 0 on'],
    ['a threshold that is no number', { threshold: Number.NaN }, 'the threshold is NaN, not a number from 0 on'],
    ['no channel', 0, 'keep is 0, not in 1 … 48'],
    ['too many channels', 5000, 'keep is 5000, not in 1 … 48'],
  ])('refuses %s', (_, selection, message) => {
    const { rewritten } = sparsifyGraph(randomGraph({ width: 48 }), () => selection);
    expect(() => checkGraph(rewritten)).toThrow(message);
  });

  it('refuses a score it does not know', () => {
    expect(() => larosa({ sparsity: 0.4, score: 'size' as 'magnitude' })).toThrow(
      'larosa: score is "size"; magnitude and weighted are allowed.',
    );
  });

  it('reports the share of weights that a token skips', async () => {
    const plugin = larosa({
      sparsity: 0.5,
      coefficients: { attentionInput: 1, attentionOutput: 1, ffnInput: 1, ffnMiddle: 1 },
    });
    await plugin.graph!(randomGraph());
    expect(plugin.metrics!()['larosa.skippedWeightShare']).toBeCloseTo(0.5, 2);
  });

  it('is exact only without sparsity', () => {
    expect(larosa({ sparsity: 0 }).fidelity).toBe('exact');
    expect(larosa({ sparsity: 0.1 }).fidelity).toBe('approximate');
  });
});
