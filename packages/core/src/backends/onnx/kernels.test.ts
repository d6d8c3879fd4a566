import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compile, randomGraph } from '../../../test/backends.ts';
import { allValues, relativeError } from '../../../test/compare.ts';
import type { Graph, Param } from '../../graph/graph.ts';
import { defineOp } from '../../ops/define.ts';
import type { CustomOp, Op } from '../../ops/op.ts';
import { seededRandom } from '../../pipeline/random.ts';
import { reference } from '../reference/index.ts';
import { onnx } from './index.ts';

/** Values of the graph on both backends; all must be within the tolerance of the largest number. */
async function compareValues(graph: Graph, tokens: readonly number[], tolerance: number): Promise<void> {
  const expected = await allValues(await compile(reference(), graph), graph, tokens);
  const executable = await compile(onnx({ values: true, threads: 1 }), graph);
  try {
    const actual = await allValues(executable, graph, tokens);
    for (const [name, value] of Object.entries(expected)) {
      expect(relativeError(actual[name]!, value), name).toBeLessThan(tolerance);
    }
  } finally {
    await executable.dispose();
  }
}

const vocabulary = 23;
const positive = { min: 1, max: 1e6 };

/** A graph of an embedding "x" of so many numbers, the given ops, and a head on `head`. */
function graphOf(
  width: number,
  ops: readonly Op[],
  shapes: Record<string, number[]>,
  head: string,
  headWidth = width,
): Graph {
  const random = seededRandom(width);
  const param = (shape: number[]): Param => {
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random() * 2 - 1);
    return {
      shape,
      key: `test ${shape}`,
      read: async (rows) => (rows ? data.slice(rows[0] * shape[1]!, rows[1] * shape[1]!) : data),
    };
  };
  const params = Object.entries({ ...shapes, table: [vocabulary, width], head: [vocabulary, headWidth] });
  const output = (name: string) => ({ output: name });
  return {
    config: { ...randomGraph().config, layers: 0, vocabularySize: vocabulary },
    // A key of its own for each: equal keys mean equal numbers.
    params: new Map(params.map(([name, shape]) => [name, { ...param(shape), key: name }])),
    ops: [
      { kind: 'embed', inputs: {}, outputs: output('x'), params: { weight: 'table' } },
      ...ops,
      { kind: 'selectRows', inputs: { input: head }, outputs: output('selected'), params: {} },
      { kind: 'linear', inputs: { input: 'selected' }, outputs: output('logits'), params: { weight: 'head' } },
    ],
    logits: 'logits',
  };
}

const tokensOf = (rows: number) => Array.from({ length: rows }, (_, i) => (i * 7 + 3) % vocabulary);
const rows = fc.integer({ min: 1, max: 13 });
const width = fc.integer({ min: 1, max: 70 });
const io = { inputs: { input: 'x' }, outputs: { output: 'y' } };
// A few roundings of numbers of the size of the largest.
const tolerance = 5e-6;

describe('an op against its reference kernel, over random shapes', () => {
  it.each(['silu', 'gelu', 'geluTanh'] as const)('act, %s', async (activation) => {
    await fc.assert(
      fc.asyncProperty(rows, width, async (count, numbers) => {
        const op: Op = { kind: 'act', ...io, params: {}, activation };
        await compareValues(graphOf(numbers, [op], {}, 'y'), tokensOf(count), tolerance);
      }),
      { numRuns: 10 },
    );
  });

  it('rmsNorm and layerNorm', async () => {
    await fc.assert(
      fc.asyncProperty(rows, width, fc.constantFrom(1e-6, 1e-5, 0.1), async (count, numbers, epsilon) => {
        const ops: Op[] = [
          { kind: 'rmsNorm', ...io, params: { gain: 'gain' }, epsilon },
          { kind: 'layerNorm', ...io, outputs: { output: 'z' }, params: { gain: 'gain', bias: 'bias' }, epsilon },
        ];
        const graph = graphOf(numbers, ops, { gain: [numbers], bias: [numbers] }, 'y');
        // One number alone has no variance: what is left of it is divided by the root of epsilon.
        await compareValues(graph, tokensOf(count), numbers < 8 ? 1e-3 : tolerance);
      }),
      { numRuns: 20 },
    );
  });

  it('linear with and without a bias', async () => {
    await fc.assert(
      fc.asyncProperty(rows, width, width, fc.boolean(), async (count, inputs, outputs, biased) => {
        const op: Op = { kind: 'linear', ...io, params: { weight: 'weight', ...(biased ? { bias: 'bias' } : {}) } };
        const graph = graphOf(inputs, [op], { weight: [outputs, inputs], bias: [outputs] }, 'y', outputs);
        await compareValues(graph, tokensOf(count), 2e-5);
      }),
      { numRuns: 20 },
    );
  });

  it('rope in both pairings, on the whole head or its beginning', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          rows: fc.integer({ min: 1, max: 32 }),
          heads: fc.integer({ min: 1, max: 4 }),
          turning: fc.integer({ min: 1, max: 16 }),
          still: fc.integer({ min: 0, max: 9 }),
          base: fc.constantFrom(100, 10_000, 1e6),
          pairing: fc.constantFrom('neighbours' as const, 'halves' as const),
        }),
        async ({ rows: count, heads, turning, still, base, pairing }) => {
          const headDim = 2 * turning + still;
          const op: Op = { kind: 'rope', ...io, params: {}, headDim, rotaryDim: 2 * turning, base, pairing };
          await compareValues(graphOf(heads * headDim, [op], {}, 'y'), tokensOf(count), tolerance);
        },
      ),
      { numRuns: 25 },
    );
  });

  it('all ops of a layer, with grouped heads', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          seed: fc.integer(positive),
          kvHeads: fc.integer({ min: 1, max: 3 }),
          group: fc.integer({ min: 1, max: 3 }),
          headDim: fc.constantFrom(2, 6, 20, 64),
          width,
          ffn: fc.integer({ min: 1, max: 150 }),
          vocabulary: fc.integer({ min: 2, max: 130 }),
          untied: fc.boolean(),
        }),
        rows,
        async ({ group, ...sizes }, count) => {
          const graph = randomGraph({ ...sizes, heads: sizes.kvHeads * group, layers: 1 });
          const tokens = Array.from({ length: count }, (_, i) => (i * 7 + sizes.seed) % sizes.vocabulary);
          // Sums of up to 150 terms; a layer of few numbers may be all cancellation.
          await compareValues(graph, tokens, Math.min(sizes.width, sizes.ffn) < 8 ? 1e-3 : 2e-5);
        },
      ),
      { numRuns: 30 },
    );
  });
});

describe("a plugin's op", () => {
  const double = defineOp({
    kind: 'test.double',
    shape: (_op, context) => ({ output: context.value('input', 'float') }),
    kernels: {
      reference(_op, context) {
        context.float('output').set(context.float('input').map((x) => 2 * x));
      },
      onnx: (_op, build) => ({ output: build.node('Mul', [build.input('input'), build.floats(2)]) }),
    },
  });
  const op = (definition: typeof double): CustomOp => ({
    kind: 'test.double',
    ...io,
    params: {},
    attributes: {},
    definition,
  });

  it('brings a kernel of its own', async () => {
    await compareValues(graphOf(9, [op(double)], {}, 'y'), tokensOf(4), tolerance);
  });

  it('is refused by name when it has none, or one that makes something else', async () => {
    const { onnx: _, ...others } = double.kernels;
    const without = onnx().compile(graphOf(9, [op({ ...double, kernels: others })], {}, 'y'), {} as never);
    await expect(without).rejects.toMatchObject({
      code: 'LLMOPT_PLAN',
      problems: ['the backend "onnx" has no kernel for test.double (y), of plugin "test"'],
    });
    const wrong = { ...double, kernels: { ...others, onnx: () => ({ result: 'x' }) } };
    await expect(compile(onnx(), graphOf(9, [op(wrong)], {}, 'y'))).rejects.toMatchObject({
      code: 'LLMOPT_GRAPH_INVALID',
      message: expect.stringContaining('test.double (y): its ONNX kernel does not make "output"'),
    });
  });
});
