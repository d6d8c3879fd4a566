import fc from 'fast-check';
import type { CoreOp, LinearOp } from '../ops/op.ts';
import { type CaseInput, type OpCase, type OpCaseSpec, opCase } from './opCase.ts';

export interface OpCasesOptions {
  /**
   * The op that makes channel lists, with the meaning of `channelsAboveZero` and a kernel for the backend under test; `none` makes cases
   * without lists. Default: `channelsAboveZero` itself.
   */
  channels?: NonNullable<CaseInput['channels']>['definition'] | 'none';
}

/** Random cases of one kind of op; a failure prints the sizes. */
function cases<Sizes>(
  kind: CoreOp['kind'],
  sizes: { [Key in keyof Sizes]: fc.Arbitrary<Sizes[Key]> },
  spec: (sizes: Sizes) => Omit<OpCaseSpec, 'name'>,
): fc.Arbitrary<OpCase> {
  return fc.record(sizes, { noNullPrototype: true }).map((drawn) => {
    const name = `${kind} ${fc.stringify(drawn)}`;
    return Object.assign(opCase({ name, ...spec(drawn as Sizes) }), { [fc.toStringMethod]: () => name });
  });
}

const seed = fc.integer({ min: 1, max: 1e6 });
const width = fc.oneof({ weight: 3, arbitrary: fc.integer({ min: 1, max: 150 }) }, fc.integer({ min: 500, max: 700 }));
const rows = fc.constantFrom('batch' as const, 'logits' as const);
const scale = fc.constantFrom(0.01, 1, 30);
const share = fc.integer({ min: 0, max: 100 }).map((percent) => percent / 100);
/** One row, a few of some sequences, and more than a batch. */
const lengths = fc.oneof(
  fc.constant([1]),
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
  fc.constant([40]),
);
const longLengths = fc.oneof({ weight: 3, arbitrary: lengths }, fc.constantFrom([150], [600, 20]));
const base = { seed, lengths };
const normSizes = { ...base, width, rows, scale, epsilon: fc.constantFrom(1e-6, 1e-5, 1e-2) };
const io = { inputs: { input: 'x' }, outputs: { output: 'y' } };

const embed = cases('embed', { ...base, width }, ({ width, ...rest }) => ({
  ...rest,
  inputs: { x: { width } },
  ops: [],
  outputs: ['x'],
}));

const rmsNorm = cases('rmsNorm', normSizes, ({ width, rows, scale, epsilon, ...rest }) => ({
  ...rest,
  inputs: { x: { width, rows, scale } },
  params: { gain: { shape: [width], offset: 1, scale: 0.3 } },
  ops: [{ kind: 'rmsNorm', ...io, params: { gain: 'gain' }, epsilon }],
}));

const layerNorm = cases(
  'layerNorm',
  { ...normSizes, offset: fc.constantFrom(0, 3) },
  ({ width, rows, scale, offset, epsilon, ...rest }) => ({
    ...rest,
    inputs: { x: { width, rows, scale, offset: offset * scale } },
    params: { gain: { shape: [width], offset: 1, scale: 0.3 }, bias: { shape: [width], scale: 0.5 } },
    ops: [{ kind: 'layerNorm', ...io, params: { gain: 'gain', bias: 'bias' }, epsilon }],
  }),
);

const rope = cases(
  'rope',
  {
    ...base,
    lengths: longLengths,
    heads: fc.integer({ min: 1, max: 4 }),
    headDim: fc.integer({ min: 2, max: 70 }),
    turned: fc.oneof(fc.constant(1), share),
    base: fc.constantFrom(100, 10_000, 1e6),
    pairing: fc.constantFrom('neighbours' as const, 'halves' as const),
  },
  ({ heads, headDim, turned, base, pairing, ...rest }) => {
    const rotaryDim = Math.max(2, Math.floor((headDim * turned) / 2) * 2);
    return {
      ...rest,
      inputs: { x: { width: heads * headDim } },
      ops: [{ kind: 'rope', ...io, params: {}, headDim, rotaryDim, base, pairing }],
    };
  },
);

const attention = cases(
  'attention',
  {
    ...base,
    lengths: longLengths,
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headDim: fc.oneof({ weight: 4, arbitrary: fc.constantFrom(4, 8, 12, 20, 64) }, fc.integer({ min: 1, max: 20 })),
    sharpness: fc.constantFrom(1, 4),
  },
  ({ kvHeads, group, headDim, sharpness, ...rest }) => {
    const heads = kvHeads * group;
    const inputs = { query: 'query', key: 'key', value: 'value' };
    const sizes = { heads, kvHeads, headDim, scale: sharpness / Math.sqrt(headDim) };
    const kvWidth = kvHeads * headDim;
    return {
      ...rest,
      config: { heads, kvHeads, headDim },
      inputs: { query: { width: heads * headDim }, key: { width: kvWidth }, value: { width: kvWidth } },
      ops: [{ kind: 'attention', layer: 0, inputs, outputs: io.outputs, params: {}, ...sizes }],
    };
  },
);

const gatedAct = cases('gatedAct', { ...base, width, rows, scale }, ({ width, rows, scale, ...rest }) => ({
  ...rest,
  inputs: { gate: { width, rows, scale }, up: { width, rows } },
  ops: [{ kind: 'gatedAct', inputs: { gate: 'gate', up: 'up' }, outputs: io.outputs, params: {}, activation: 'silu' }],
}));

const act = cases(
  'act',
  { ...base, width, rows, scale, activation: fc.constantFrom('gelu' as const, 'geluTanh' as const, 'silu' as const) },
  ({ width, rows, scale, activation, ...rest }) => ({
    ...rest,
    inputs: { x: { width, rows, scale } },
    ops: [{ kind: 'act', ...io, params: {}, activation }],
  }),
);

const add = cases('add', { ...base, width, rows }, ({ width, rows, ...rest }) => ({
  ...rest,
  inputs: { left: { width, rows }, right: { width, rows } },
  ops: [{ kind: 'add', inputs: { left: 'left', right: 'right' }, outputs: io.outputs, params: {} }],
}));

const selectRows = cases('selectRows', { ...base, width, wanted: share }, ({ width, ...rest }) => ({
  ...rest,
  inputs: { x: { width } },
  ops: [{ kind: 'selectRows', ...io, params: {} }],
}));

interface Lists {
  /** Share of the channels that is alive at most. */
  share: number;
  told: boolean;
}

const anyLists: fc.Arbitrary<Lists | undefined> = fc.option(
  fc.record({
    share: fc.oneof(fc.constantFrom(0, 0.2, 1), share),
    told: fc.boolean(),
  }),
  { nil: undefined },
);

/** Linears that read one input, as queries, keys and values do; or one whose weight is the embedding too, as a head's is. */
function linear({ channels: definition }: OpCasesOptions): fc.Arbitrary<OpCase> {
  const lists = definition === 'none' ? fc.constant(undefined) : anyLists;
  const output = fc.record({ outputs: width, bias: fc.boolean() });
  const sizes = { ...base, inputs: width, rows, lists };

  const inputsOf = (input: CaseInput, list: Lists | undefined): Record<string, CaseInput> => {
    if (!list || definition === 'none') return { x: input };
    const most = Math.round(list.share * input.width);
    const channels = { width: input.width, rows: input.rows, channels: { most, told: list.told, definition } };
    return { x: input, channels };
  };
  const op = (i: number, bias: boolean, list: Lists | undefined): LinearOp => ({
    kind: 'linear',
    inputs: list ? { input: 'x', channels: 'channels' } : { input: 'x' },
    outputs: { output: `y${i}` },
    params: { weight: `weight${i}`, ...(bias ? { bias: `bias${i}` } : {}) },
  });
  const several = cases(
    'linear',
    { ...sizes, linears: fc.array(output, { minLength: 1, maxLength: 3 }) },
    ({ inputs, rows, lists, linears, ...rest }) => ({
      ...rest,
      inputs: inputsOf({ width: inputs, rows }, lists),
      params: Object.fromEntries(
        linears.flatMap(({ outputs }, i) => [
          [`weight${i}`, { shape: [outputs, inputs] }],
          [`bias${i}`, { shape: [outputs], scale: 1 }],
        ]),
      ),
      ops: linears.map(({ bias }, i) => op(i, bias, lists)),
    }),
  );
  // A head of more outputs than a backend may like to have in one piece.
  const tall = cases(
    'linear',
    { ...base, inputs: fc.integer({ min: 1, max: 40 }), vocabularySize: fc.constant(16_401), bias: fc.boolean() },
    ({ inputs, vocabularySize, bias, ...rest }) => ({
      ...rest,
      config: { vocabularySize },
      inputs: { x: { width: inputs, rows: 'logits' as const } },
      params: { weight0: { shape: [vocabularySize, inputs] }, bias0: { shape: [vocabularySize], scale: 1 } },
      ops: [op(0, bias, undefined)],
    }),
  );
  const tied = cases(
    'linear',
    { ...sizes, embedding: output },
    ({ inputs, rows, lists, embedding: { outputs, bias }, ...rest }) => ({
      ...rest,
      inputs: inputsOf({ width: inputs, rows, embedding: 'weight0' }, lists),
      params: { weight0: { shape: [outputs, inputs], scale: 1 }, bias0: { shape: [outputs], scale: 1 } },
      ops: [op(0, bias, lists)],
    }),
  );
  return fc.oneof({ weight: 6, arbitrary: several }, { weight: 3, arbitrary: tied }, tall);
}

/** Cases of each kind of op, over random sizes: see `checkOp`. */
export function opCases(options: OpCasesOptions = {}): Readonly<Record<CoreOp['kind'], fc.Arbitrary<OpCase>>> {
  const others = { embed, rmsNorm, layerNorm, rope, attention, gatedAct, act, add, selectRows };
  return { ...others, linear: linear(options) };
}
