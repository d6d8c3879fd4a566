import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';

/** The shape of a tensor, which is the expected one. @throws LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE */
export function checkShape(checkpoint: Checkpoint, name: string, expected: readonly number[]): readonly number[] {
  const tensor = checkpoint.tensors.get(name);
  const where = { file: checkpoint.path, tensor: name };
  if (!tensor) {
    throw new LlmoptError(
      'LLMOPT_TENSOR_MISSING',
      `${checkpoint.path} has no tensor "${name}", which ${checkpoint.architecture} needs.`,
      { where, hint: 'The file is incomplete or made for another architecture; convert it again.' },
    );
  }
  const { shape } = tensor;
  if (shape.length === expected.length && shape.every((size, axis) => size === expected[axis])) return shape;
  throw new LlmoptError(
    'LLMOPT_TENSOR_SHAPE',
    `Tensor "${name}" of ${checkpoint.path} is [${shape}]; the metadata ask for [${expected}].`,
    { where, hint: 'The metadata and the tensors of this file contradict each other; convert it again.' },
  );
}
