import { act } from './act.ts';
import { add } from './add.ts';
import { attention } from './attention.ts';
import type { OpDefinition } from './define.ts';
import { embed } from './embed.ts';
import { gatedAct } from './gatedAct.ts';
import { layerNorm } from './layerNorm.ts';
import { linear } from './linear.ts';
import { type CoreOp, isCustom, type Op } from './op.ts';
import { rmsNorm } from './rmsNorm.ts';
import { rope } from './rope.ts';
import { selectRows } from './selectRows.ts';

/** Core's own ops by kind; a kind that is missing here does not compile. */
export const coreOps = {
  embed,
  rmsNorm,
  layerNorm,
  linear,
  rope,
  attention,
  gatedAct,
  act,
  add,
  selectRows,
} satisfies {
  [Kind in CoreOp['kind']]: OpDefinition<Extract<CoreOp, { kind: Kind }>>;
};

/** The definition of an op: core's, or the one that a plugin's op carries. */
export function definitionOf(op: Op): OpDefinition<Op> {
  // Each definition takes exactly the ops of its own kind, which the record's type above guarantees.
  return (isCustom(op) ? op.definition : coreOps[op.kind]) as unknown as OpDefinition<Op>;
}
