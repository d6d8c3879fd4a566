import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.ts';
import { checkShape } from './checkShape.ts';

/** A tensor that holds the rows of several, one below the other. */
export interface Stack {
  readonly name: string;
  readonly parts: readonly { readonly name: string; readonly rows: number }[];
}

/**
 * The checkpoint with its stacks, of those that it has, cut into their parts. Reads nothing.
 * @throws LLMOPT_TENSOR_SHAPE when the parts do not fill a stack
 */
export function splitRows(checkpoint: Checkpoint, stacks: readonly Stack[]): Checkpoint {
  const tensors = new Map<string, TensorInfo>(checkpoint.tensors);
  const places = new Map<string, { stack: string; from: number; rows: number }>();
  for (const { name: stack, parts } of stacks) {
    const tensor = tensors.get(stack);
    if (!tensor) continue;
    const all = parts.reduce((sum, { rows }) => sum + rows, 0);
    const [, ...rest] = checkShape(checkpoint, stack, [all, ...tensor.shape.slice(1)]);
    tensors.delete(stack);
    let from = 0;
    for (const { name, rows } of parts) {
      const byteLength = (tensor.byteLength / all) * rows;
      tensors.set(name, { name, shape: [rows, ...rest], type: tensor.type, byteLength });
      places.set(name, { stack, from, rows });
      from += rows;
    }
  }
  return {
    ...checkpoint,
    tensors,
    read(name, range) {
      const place = places.get(name);
      if (!place) return checkpoint.read(name, range);
      const [from, to] = range ?? [0, place.rows];
      return checkpoint.read(place.stack, [place.from + from, place.from + to]);
    },
  };
}
