import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backend, Capability } from '../backends/backend.ts';
import { reference } from '../backends/reference/index.ts';
import { type Graph, mapOps, withParams } from '../graph/graph.ts';
import type { ActOp, CoreOp, Op } from '../ops/op.ts';
import { channelsAboveZero } from './channelsOp.ts';
import { checkModel, checkOp } from './check.ts';
import { conformanceTests } from './conformance.ts';
import { opCase } from './opCase.ts';
import { opCases } from './opCases.ts';
import { randomGraph } from './randomModel.ts';

/** A backend that runs another graph than it was given. */
const wrong = (change: (graph: Graph) => Graph, capabilities?: Capability[]): Backend => ({
  ...reference(),
  name: 'wrong',
  ...(capabilities ? { capabilities: new Set(capabilities) } : {}),
  compile: (graph, options) => reference().compile(change(graph), options),
});

/** Changes the ops of one kind. */
const changed = <Kind extends CoreOp['kind']>(kind: Kind, edit: Partial<Extract<CoreOp, { kind: Kind }>>) =>
  wrong((graph) => mapOps(graph, (op) => (op.kind === kind ? ({ ...op, ...edit } as Op) : op)));

const act = (activation: ActOp['activation']) =>
  opCase({
    name: 'an activation',
    seed: 3,
    inputs: { x: { width: 9 } },
    ops: [{ kind: 'act', inputs: { input: 'x' }, outputs: { output: 'y' }, params: {}, activation }],
  });

describe('checkOp', () => {
  it('finds nothing between the reference and itself', async () => {
    expect(await checkOp(reference(), act('gelu'))).toMatchObject({ error: 0 });
  });

  it('says where another number is, and how far off', async () => {
    const error = await checkOp(changed('act', { activation: 'geluTanh' }), act('gelu')).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'LLMOPT_CONFORMANCE', where: { backend: 'wrong', value: 'y' } });
    expect((error as Error).message).toMatch(
      /^wrong computes -?[\d.]+ where the reference has -?[\d.]+: "y", number \d, sequence 0, position \d\. The difference counts 0\.000\d+, and 0\.0001 is allowed\. Case: an activation\.$/,
    );
    // The two functions differ by at most 5e-4.
    const deviation = await checkOp(changed('act', { activation: 'geluTanh' }), act('gelu'), { tolerance: 1e-3 });
    expect(deviation.error).toBeGreaterThan(1e-4);
    expect(deviation.error).toBeLessThanOrEqual(Math.abs(deviation.actual - deviation.expected));
  });

  it('sees a difference in the logits alone, where the backend gives out nothing else', async () => {
    const blind = wrong((graph) => mapOps(graph, (op) => (op.kind === 'act' ? { ...op, activation: 'silu' } : op)), []);
    const error = await checkOp(blind, act('gelu')).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'LLMOPT_CONFORMANCE', where: { value: 'y.logits.selected' } });
  });

  it('takes no NaN for an answer', async () => {
    const nan = wrong((graph) =>
      withParams(graph, [
        ['x.rows', { ...graph.params.get('x.rows')!, read: async () => new Float32Array(61 * 9).fill(NaN) }],
      ]),
    );
    await expect(checkOp(nan, act('gelu'), { tolerance: 1e9 })).rejects.toMatchObject({ code: 'LLMOPT_CONFORMANCE' });
  });

  it('compares with the weights that the backend uses, where it is told', async () => {
    const oracle = async (graph: Graph) =>
      mapOps(graph, (op) => (op.kind === 'act' ? { ...op, activation: 'silu' } : op));
    expect(await checkOp(reference(), act('silu'), { oracle })).toMatchObject({ error: 0 });
    await expect(checkOp(reference(), act('gelu'), { oracle })).rejects.toMatchObject({ code: 'LLMOPT_CONFORMANCE' });
  });

  it('feeds a backend without slots one sequence after the other', async () => {
    const slots: number[] = [];
    const single: Backend = {
      ...wrong((graph) => graph, ['logits']),
      compile(graph, options) {
        slots.push(options.slots);
        return reference().compile(graph, options);
      },
    };
    await fc.assert(
      fc.asyncProperty(opCases().attention, async (one) => {
        expect(await checkOp(single, one)).toMatchObject({ error: 0 });
      }),
      { numRuns: 10 },
    );
    expect(new Set(slots)).toEqual(new Set([1]));
  });
});

describe('checkModel', () => {
  it.each<[string, Backend]>([
    ['a base of the positions', changed('rope', { base: 9_900 })],
    ['the other pairs', changed('rope', { pairing: 'halves' })],
    ['a scale', changed('attention', { scale: 0.3 })],
    ['an epsilon', changed('rmsNorm', { epsilon: 1e-2 })],
  ])('notices %s', async (_, backend) => {
    await expect(checkModel(backend, randomGraph())).rejects.toMatchObject({ code: 'LLMOPT_CONFORMANCE' });
  });

  it('works within a short context', async () => {
    expect(await checkModel(reference(), randomGraph({ context: 3 }))).toMatchObject({ error: 0 });
  });
});

describe('opCases', () => {
  it('make lists of no, of some and of all channels', async () => {
    const counts = new Set<string>();
    for (const { graph } of fc.sample(opCases().linear, { numRuns: 60, seed: 7 })) {
      const selectors = graph.params.get('channels.rows');
      if (!selectors) continue;
      const width = selectors.shape[1]!;
      const numbers = await selectors.read();
      for (let token = 0; token < selectors.shape[0]!; token++) {
        const alive = numbers.slice(token * width, (token + 1) * width).filter((x) => x > 0).length;
        counts.add(alive === 0 ? 'none' : alive === width ? 'all' : 'some');
      }
    }
    expect(counts).toEqual(new Set(['none', 'some', 'all']));
  });

  it('have no lists where none are wanted', () => {
    for (const { graph } of fc.sample(opCases({ channels: 'none' }).linear, { numRuns: 40, seed: 7 })) {
      expect(graph.ops.every((op) => !('channels' in op.inputs))).toBe(true);
    }
  });
});

describe('conformanceTests', () => {
  const without = (...kinds: string[]): Backend => ({ ...reference(), supports: (op) => !kinds.includes(op.kind) });

  it('pass for the reference', async () => {
    for (const { skip, run } of conformanceTests(reference(), { runs: 3, graphRuns: 1, seed: 5 })) {
      expect(skip).toBeUndefined();
      await run();
    }
  });

  it('say what cannot be tested', () => {
    const skipped = (backend: Backend) =>
      conformanceTests(backend).flatMap(({ name, skip }) => (skip ? [`${name.split(':')[0]}: ${skip}`] : []));
    expect(skipped(without('layerNorm'))).toEqual([
      'layerNorm: reference does not support layerNorm',
      'phi2: reference does not support layerNorm',
      'phi2 with channel lists: reference does not support layerNorm',
    ]);
    expect(skipped(without(channelsAboveZero.kind))).toEqual(
      ['llama', 'phi2', 'qwen2'].map(
        (name) => `${name} with channel lists: reference does not support testing.channels`,
      ),
    );
  });

  it('fail with the sizes for which a backend is wrong', async () => {
    const [test] = conformanceTests(changed('rmsNorm', { epsilon: 1 }), { seed: 1 }).filter(({ name }) =>
      name.startsWith('rmsNorm'),
    );
    await expect(test!.run()).rejects.toThrow(/Counterexample: \[rmsNorm \{"seed":\d+.*"width":/s);
  });
});
