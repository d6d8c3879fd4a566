import type { CoreOpDefinition } from './define.ts';
import type { AttentionOp } from './op.ts';

export const attention: CoreOpDefinition<AttentionOp> = {
  kind: 'attention',
  shape(op, context) {
    const query = context.value('query', 'float');
    const kvWidth = op.kvHeads * op.headDim;
    context.require(op.heads % op.kvHeads === 0, `${op.heads} heads cannot share ${op.kvHeads} KV heads evenly`);
    context.require(query.width === op.heads * op.headDim, `the query is ${query.width} wide, not heads × headDim`);
    context.require(query.rows === 'batch', 'the query must have a row for each row of the batch');
    for (const role of ['key', 'value']) {
      const info = context.value(role, 'float');
      context.require(info.width === kvWidth, `the ${role} is ${info.width} wide, not kvHeads × headDim = ${kvWidth}`);
      context.require(info.rows === 'batch', `the ${role} must have a row for each row of the batch`);
    }
    return { output: query };
  },
  kernels: {
    reference(op, context) {
      const { slots, positions } = context.batch;
      const query = context.float('query');
      const output = context.float('output');
      const key = context.float('key');
      const value = context.float('value');
      const kvWidth = op.kvHeads * op.headDim;
      const width = op.heads * op.headDim;
      for (let row = 0; row < slots.length; row++) {
        const at = positions[row]! * kvWidth;
        context.kv.keys(op.layer, slots[row]!).set(key.subarray(row * kvWidth, (row + 1) * kvWidth), at);
        context.kv.values(op.layer, slots[row]!).set(value.subarray(row * kvWidth, (row + 1) * kvWidth), at);
      }
      for (let row = 0; row < slots.length; row++) {
        const keys = context.kv.keys(op.layer, slots[row]!);
        const values = context.kv.values(op.layer, slots[row]!);
        for (let head = 0; head < op.heads; head++) {
          const kvHead = Math.floor(head / (op.heads / op.kvHeads)) * op.headDim;
          const q = query.subarray(row * width + head * op.headDim, row * width + (head + 1) * op.headDim);
          const weights = softmax(
            Float64Array.from({ length: positions[row]! + 1 }, (_, position) => {
              let dot = 0;
              for (let i = 0; i < op.headDim; i++) dot += q[i]! * keys[position * kvWidth + kvHead + i]!;
              return dot * op.scale;
            }),
          );
          for (let i = 0; i < op.headDim; i++) {
            let sum = 0;
            for (let position = 0; position < weights.length; position++) {
              sum += weights[position]! * values[position * kvWidth + kvHead + i]!;
            }
            output[row * width + head * op.headDim + i] = sum;
          }
        }
      }
    },
  },
};

function softmax(scores: Float64Array): Float64Array {
  let largest = -Infinity;
  for (const score of scores) largest = Math.max(largest, score);
  let sum = 0;
  for (let i = 0; i < scores.length; i++) {
    scores[i] = Math.exp(scores[i]! - largest);
    sum += scores[i]!;
  }
  for (let i = 0; i < scores.length; i++) scores[i] = scores[i]! / sum;
  return scores;
}
