import type { CoreOpDefinition } from './define.ts';
import type { ActOp } from './op.ts';

const activations: Readonly<Record<ActOp['activation'], (x: number) => number>> = {
  gelu: (x) => (x / 2) * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

export const act: CoreOpDefinition<ActOp> = {
  kind: 'act',
  shape(op, context) {
    context.require(Object.hasOwn(activations, op.activation), `there is no activation "${op.activation}"`);
    return { output: context.value('input', 'float') };
  },
  kernels: {
    reference(op, context) {
      const input = context.float('input');
      const output = context.float('output');
      const f = activations[op.activation];
      for (let i = 0; i < output.length; i++) output[i] = f(input[i]!);
    },
  },
};

// erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (1 · 3 · … · (2n + 1)): no term has another sign, so nothing cancels.
function erf(x: number): number {
  if (!(Math.abs(x) < 6)) return Math.sign(x);
  let term = x;
  let sum = 0;
  for (let n = 0; sum + term !== sum; n++) {
    sum += term;
    term *= (2 * x * x) / (2 * n + 3);
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}
