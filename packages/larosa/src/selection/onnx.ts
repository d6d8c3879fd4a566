import type { CustomOp, OnnxBuilder } from '@llmopt/core';
import { selectionOf } from './sparsify.ts';

/** `larosa.sparsify` as a mask. */
export function sparsifyOnnx(op: CustomOp, build: OnnxBuilder): { channels: string } {
  const { keep, threshold, prefill } = selectionOf(op);
  const magnitude = build.node('Abs', [build.input('input')]);
  const score = build.has('norms') ? build.node('Mul', [magnitude, build.param('norms')]) : magnitude;
  const masks = [largest(score, keep ?? 1, build)];
  if (threshold !== undefined) {
    const reached = build.node('GreaterOrEqual', [score, build.floats(threshold)]);
    // 1: float
    masks.push(build.node('Cast', [reached], { to: 1n }));
  }
  const prompt = prefill === 'dense' ? build.promptRows() : undefined;
  if (prompt !== undefined) masks.push(prompt);
  return { channels: masks.length > 1 ? build.node('Max', masks) : masks[0]! };
}

/** 1 for so many of the largest scores; of equals, TopK takes the lower index. */
function largest(score: string, count: number, build: OnnxBuilder): string {
  const [, kept] = build.nodes('TopK', [score, build.ints([count])], 2, { axis: -1n, sorted: 0n });
  const none = build.node('ConstantOfShape', [build.node('Shape', [score])]);
  const ones = build.node('Expand', [build.floats(1), build.node('Shape', [kept!])]);
  return build.node('ScatterElements', [none, kept!, ones], { axis: -1n });
}
