import { expect, it } from 'vitest';
import { reference } from '../backends/reference/index.ts';
import { checkGraph } from '../graph/check.ts';
import { mapOps, withParams } from '../graph/graph.ts';
import { compile } from '../testing/forward.ts';
import { opCase } from '../testing/opCase.ts';
import type { ActOp } from './op.ts';

const graphOf = (activation: ActOp['activation'], width: number) =>
  opCase({
    name: activation,
    seed: 1,
    inputs: { x: { width } },
    ops: [{ kind: 'act', inputs: { input: 'x' }, outputs: { output: 'y' }, params: {}, activation }],
  }).graph;

/** The activation of some numbers, by the reference kernel. */
async function act(activation: ActOp['activation'], numbers: readonly number[]): Promise<number[]> {
  const rows = { shape: [1, numbers.length], key: 'rows', read: async () => Float32Array.from(numbers) };
  const executable = await compile(reference(), withParams(graphOf(activation, numbers.length), [['x.rows', rows]]));
  const slot = executable.kv.acquire()!;
  const values = [{ name: 'y', rows: [0] }];
  const result = await executable.forward({ tokens: [0], slots: [slot], positions: [0], logits: [], values });
  return [...result.values.y!];
}

// Of PyTorch in float64: torch.nn.functional.gelu, gelu(approximate='tanh') and silu.
const numbers = [-7, -5, -3, -1, -0.1, 0, 0.1, 0.5, 1, 2, 4, 5, 7];
it.each([
  [
    'gelu',
    [
      -8.958667141456544e-12, -1.4332578593401202e-6, -0.00404969409489031, -0.15865525393145702, -0.04601721689885652,
      0.0, 0.0539827845912596, 0.34573123063700656, 0.841344746068543, 1.9544997361036416, 3.9998733150326675,
      4.999998566742141, 6.999999999991041,
    ],
  ],
  [
    'geluTanh',
    [
      -2.3314683517128287e-15, -2.2917961972623857e-7, -0.0036373920817729943, -0.15880800939172324,
      -0.0460172495811262, 0.0, 0.05398275190898992, 0.34571400982514394, 0.8411919906082768, 1.954597694087775,
      3.9999297540518075, 4.999999770820381, 6.999999999999997,
    ],
  ],
  [
    'silu',
    [
      -0.006377358360804518, -0.03346425462142428, -0.14227761953270035, -0.2689414213699951, -0.04750208192278225, 0.0,
      0.05249791956733388, 0.3112296656009273, 0.7310585786300049, 1.7615941559557646, 3.928055160151634,
      4.966535745378576, 6.993622641639196,
    ],
  ],
] as const)('%s has the numbers of PyTorch', async (activation, expected) => {
  for (const [i, y] of (await act(activation, numbers)).entries()) {
    expect(Math.abs(y - expected[i]!), `of ${numbers[i]}`).toBeLessThanOrEqual(1.2e-7 * Math.abs(expected[i]!) + 1e-15);
  }
});

it.each(['gelu', 'geluTanh', 'silu'] as const)(
  '%s is 0 far to the left and the number itself far to the right',
  async (activation) => {
    expect(await act(activation, [-1e30, -500, 500, 1e30])).toEqual([-0, -0, 500, Math.fround(1e30)]);
  },
);

it('refuses an activation that it does not know', () => {
  const graph = mapOps(graphOf('gelu', 3), (op) => (op.kind === 'act' ? { ...op, activation: 'relu' as 'gelu' } : op));
  expect(() => checkGraph(graph)).toThrow(
    expect.objectContaining({ code: 'LLMOPT_GRAPH_INVALID', message: expect.stringMatching(/no activation "relu"/) }),
  );
});
