import type { AttentionOp, CoreOp } from '../../../ops/op.ts';
import type { GpuKernel } from '../abi.ts';
import { act } from './act.ts';
import { add } from './add.ts';
import { embed } from './embed.ts';
import { gatedAct } from './gatedAct.ts';
import { layerNorm } from './layerNorm.ts';
import { linear } from './linear.ts';
import { rmsNorm } from './rmsNorm.ts';
import { rope } from './rope.ts';
import { selectRows } from './selectRows.ts';

/** Core's kernels by op kind; attention, which also writes the KV cache, is lowered by the program. */
export const coreKernels = { act, add, embed, gatedAct, layerNorm, linear, rmsNorm, rope, selectRows } satisfies {
  [Kind in Exclude<CoreOp, AttentionOp>['kind']]: GpuKernel<Extract<CoreOp, { kind: Kind }>>;
};
