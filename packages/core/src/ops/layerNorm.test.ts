import { expect, it } from 'vitest';
import { reference } from '../backends/reference/index.ts';
import { checkGraph } from '../graph/check.ts';
import { type Graph, mapOps, type Param, withParams } from '../graph/graph.ts';
import { compile } from '../testing/forward.ts';
import { opCase } from '../testing/opCase.ts';
import type { LayerNormOp } from './op.ts';

const vector = (key: string, numbers: readonly number[], shape = [numbers.length]): Param => ({
  shape,
  key,
  read: async () => Float32Array.from(numbers),
});

const graph = withParams(
  opCase({
    name: 'layerNorm',
    seed: 1,
    inputs: { x: { width: 5 } },
    params: { gain: { shape: [5] }, bias: { shape: [5] } },
    ops: [
      {
        kind: 'layerNorm',
        inputs: { input: 'x' },
        outputs: { output: 'y' },
        params: { gain: 'gain', bias: 'bias' },
        epsilon: 0.01,
      },
    ],
  }).graph,
  [
    ['x.rows', vector('x.rows', [1, 2, 4, -3, 0.5, 7, 7, 7, 7, 7], [2, 5])],
    ['gain', vector('gain', [1, 2, -1, 0.5, 3])],
    ['bias', vector('bias', [0, 0.1, 0.2, -0.3, 1])],
  ],
);

it('has the numbers of PyTorch, and only the bias where all numbers are equal', async () => {
  const executable = await compile(reference(), graph);
  const slot = executable.kv.acquire()!;
  const { values } = await executable.forward({
    ...{ tokens: [0, 1], slots: [slot, slot], positions: [0, 1], logits: [] },
    values: [{ name: 'y', rows: [0, 1] }],
  });
  // torch.nn.functional.layer_norm in float64.
  const expected = [0.043643578, 1.060158717, -1.1529509195, -1.1510497719, 0.4762770634];
  for (const [i, y] of [...expected, 0, 0.1, 0.2, -0.3, 1].entries()) expect(values.y![i]).toBeCloseTo(y, 6);
});

it.each<[string, Graph, RegExp]>([
  [
    'a gain of another width',
    withParams(graph, [['gain', vector('gain', [1, 2])]]),
    /the gain must be \[5\], not \[2\]/,
  ],
  ['a bias of another width', withParams(graph, [['bias', vector('bias', [1])]]), /the bias must be \[5\], not \[1\]/],
  [
    'no bias',
    mapOps(graph, (op) => (op.kind === 'layerNorm' ? ({ ...op, params: { gain: 'gain' } } as LayerNormOp) : op)),
    /lacks its parameter "bias"/,
  ],
  [
    'no epsilon to speak of',
    mapOps(graph, (op) => (op.kind === 'layerNorm' ? { ...op, epsilon: 0 } : op)),
    /epsilon must be above 0/,
  ],
])('refuses %s', (_, broken, message) => {
  expect(() => checkGraph(broken)).toThrow(
    expect.objectContaining({ code: 'LLMOPT_GRAPH_INVALID', message: expect.stringMatching(message) }),
  );
});
