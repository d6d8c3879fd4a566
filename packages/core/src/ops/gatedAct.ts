import type { CoreOpDefinition } from './define.ts';
import type { GatedActOp } from './op.ts';

export const gatedAct: CoreOpDefinition<GatedActOp> = {
  kind: 'gatedAct',
  shape(_op, context) {
    const gate = context.value('gate', 'float');
    const up = context.value('up', 'float');
    context.require(gate.width === up.width && gate.rows === up.rows, `gate is ${gate.width} wide, up ${up.width}`);
    return { output: gate };
  },
  kernels: {
    reference(_op, context) {
      const gate = context.float('gate');
      const up = context.float('up');
      const output = context.float('output');
      for (let i = 0; i < output.length; i++) output[i] = (gate[i]! / (1 + Math.exp(-gate[i]!))) * up[i]!;
    },
  },
};
