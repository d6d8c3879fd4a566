import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';
import type { Param } from '../graph/graph.ts';

/**
 * Collects the parameters of a graph from a checkpoint. `param` checks that the tensor is there and has the shape, and returns
 * its name; nothing is read yet.
 */
export function checkpointParams(checkpoint: Checkpoint) {
  const params = new Map<string, Param>();
  function param(name: string, shape: readonly number[]): string {
    const tensor = checkpoint.tensors.get(name);
    if (!tensor) {
      throw new LlmoptError(
        'LLMOPT_TENSOR_MISSING',
        `${checkpoint.path} has no tensor "${name}", which ${checkpoint.architecture} needs.`,
        {
          where: { file: checkpoint.path, tensor: name },
          hint: 'The file is incomplete or made for another architecture; convert it again.',
        },
      );
    }
    if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
      throw new LlmoptError(
        'LLMOPT_TENSOR_SHAPE',
        `Tensor "${name}" of ${checkpoint.path} is [${tensor.shape}]; the metadata ask for [${shape}].`,
        {
          where: { file: checkpoint.path, tensor: name },
          hint: 'The metadata and the tensors of this file contradict each other; convert it again.',
        },
      );
    }
    params.set(name, { shape: tensor.shape, key: name, read: (rows) => checkpoint.read(name, rows) });
    return name;
  }
  return { params, param };
}
