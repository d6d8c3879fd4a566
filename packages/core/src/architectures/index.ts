import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import { llama } from './llama.ts';
import { phi } from './phi.ts';
import { qwen2 } from './qwen2.ts';

/** Architecture by the name that checkpoints use: `phi` is transformers' name of what llama.cpp calls `phi2`. */
export const architectures: Readonly<Record<string, (checkpoint: Checkpoint) => Graph>> = {
  llama,
  phi,
  phi2: phi,
  qwen2,
};

/** The graph of a checkpoint. @throws LLMOPT_ARCHITECTURE_UNKNOWN, and what the architecture throws */
export function buildGraph(checkpoint: Checkpoint): Graph {
  const build = Object.hasOwn(architectures, checkpoint.architecture)
    ? architectures[checkpoint.architecture]
    : undefined;
  if (build) return build(checkpoint);
  throw new LlmoptError(
    'LLMOPT_ARCHITECTURE_UNKNOWN',
    `${checkpoint.path} is of the architecture "${checkpoint.architecture}", which is not known.`,
    {
      where: { file: checkpoint.path, architecture: checkpoint.architecture },
      hint: `Known architectures: ${Object.keys(architectures).join(', ')}.`,
    },
  );
}
