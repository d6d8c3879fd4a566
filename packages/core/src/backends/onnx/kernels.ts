import type {
  ActOp,
  AddOp,
  CoreOp,
  EmbedOp,
  GatedActOp,
  LayerNormOp,
  LinearOp,
  RmsNormOp,
  SelectRowsOp,
} from '../../ops/op.ts';
import { attention } from './attention.ts';
import type { ModelBuilder } from './builder.ts';
import type { OnnxBuilder } from './kernel.ts';
import { rope } from './rope.ts';

/** What core's own kernels see beside their op's tensors. Rows are those of all sequences, one sequence after the other. */
export interface ModelTensors {
  readonly builder: ModelBuilder;
  /** Token ids, int64 `[rows]`. */
  readonly tokens: string;
  /** int64 `[rows]` */
  readonly positions: string;
  /** int64 `[2]`: sequences, rows of each. */
  readonly batchShape: string;
  /** Indices of the rows that want logits, int64 `[n]`; undefined when all do. */
  readonly logitRows: string | undefined;
  /** Positions that tables hold. */
  readonly contextLength: number;
}

/** Writes one of core's ops as ONNX nodes. Returns the tensor of each output, by role. */
export type CoreKernel<O extends CoreOp> = (
  op: O,
  build: OnnxBuilder,
  model: ModelTensors,
) => Readonly<Record<string, string>>;

const embed: CoreKernel<EmbedOp> = (_op, build, { tokens }) => ({
  output: build.node('Gather', [build.param('weight'), tokens]),
});

const rmsNorm: CoreKernel<RmsNormOp> = ({ epsilon }, build) => {
  const input = build.input('input');
  const squares = build.node('Pow', [input, build.floats(2)]);
  const mean = build.node('ReduceMean', [squares], { axes: [-1n], keepdims: 1n });
  const root = build.node('Sqrt', [build.node('Add', [mean, build.floats(epsilon)])]);
  return { output: build.node('Mul', [build.node('Div', [input, root]), build.param('gain')]) };
};

const layerNorm: CoreKernel<LayerNormOp> = ({ epsilon }, build) => ({
  output: build.node('LayerNormalization', [build.input('input'), build.param('gain'), build.param('bias')], {
    axis: -1n,
    epsilon,
  }),
});

const linear: CoreKernel<LinearOp> = (_op, build) => {
  const all = build.input('input');
  const alive = build.has('channels') ? build.node('Mul', [all, build.input('channels')]) : all;
  const bias = build.has('bias') ? [build.param('bias')] : [];
  return { output: build.node('Gemm', [alive, build.param('weight'), ...bias], { transB: 1n }) };
};

const silu = (x: string, build: OnnxBuilder) => build.node('Mul', [x, build.node('Sigmoid', [x])]);

const gatedAct: CoreKernel<GatedActOp> = (_op, build) => ({
  output: build.node('Mul', [silu(build.input('gate'), build), build.input('up')]),
});

const activations: Readonly<Record<ActOp['activation'], (x: string, build: OnnxBuilder) => string>> = {
  silu,
  gelu(x, build) {
    const erf = build.node('Erf', [build.node('Div', [x, build.floats(Math.SQRT2)])]);
    const share = build.node('Add', [erf, build.floats(1)]);
    return build.node('Mul', [build.node('Mul', [x, share]), build.floats(0.5)]);
  },
  geluTanh(x, build) {
    const cubes = build.node('Mul', [build.node('Pow', [x, build.floats(3)]), build.floats(0.044715)]);
    const inner = build.node('Mul', [build.node('Add', [x, cubes]), build.floats(Math.sqrt(2 / Math.PI))]);
    const share = build.node('Add', [build.node('Tanh', [inner]), build.floats(1)]);
    return build.node('Mul', [build.node('Mul', [x, share]), build.floats(0.5)]);
  },
};

const act: CoreKernel<ActOp> = ({ activation }, build) => ({
  output: activations[activation](build.input('input'), build),
});

const add: CoreKernel<AddOp> = (_op, build) => ({
  output: build.node('Add', [build.input('left'), build.input('right')]),
});

const selectRows: CoreKernel<SelectRowsOp> = (_op, build, { logitRows }) => {
  const input = build.input('input');
  return { output: logitRows === undefined ? input : build.node('Gather', [input, logitRows]) };
};

const kernels = { embed, rmsNorm, layerNorm, linear, rope, attention, gatedAct, act, add, selectRows } satisfies {
  [Kind in CoreOp['kind']]: CoreKernel<Extract<CoreOp, { kind: Kind }>>;
};

/** The kernel of one of core's ops. */
export function coreKernel(kind: CoreOp['kind']): CoreKernel<CoreOp> {
  // Each kernel takes exactly the ops of its own kind, which the record's type above guarantees.
  return kernels[kind] as CoreKernel<CoreOp>;
}
