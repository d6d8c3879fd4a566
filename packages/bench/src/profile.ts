import { type KernelProfile, LlmoptError, type Pipeline, type Profile } from '@llmopt/core';

const keyOf = ({ kind, layer }: Profile['entries'][number]) => `${kind} ${layer ?? ''}`;
const kernelKeyOf = ({ kernel, shape }: KernelProfile) => `${kernel} ${shape ?? ''}`;

/** What happened between two profiles of the same pipeline; `undefined` without a later one. */
export function subtractProfile(after: Profile | undefined, before: Profile | undefined): Profile | undefined {
  if (!after || !before) return after;
  const earlier = new Map(before.entries.map((entry) => [keyOf(entry), entry.milliseconds]));
  const earlierKernels = new Map(before.kernels.map((entry) => [kernelKeyOf(entry), entry]));
  return {
    steps: after.steps - before.steps,
    stepMilliseconds: after.stepMilliseconds - before.stepMilliseconds,
    entries: after.entries.map((entry) => ({
      ...entry,
      milliseconds: entry.milliseconds - (earlier.get(keyOf(entry)) ?? 0),
    })),
    kernels: after.kernels.map((entry) => {
      const { calls = 0, milliseconds = 0, bytes = 0, operations = 0 } = earlierKernels.get(kernelKeyOf(entry)) ?? {};
      return {
        ...entry,
        calls: entry.calls - calls,
        milliseconds: entry.milliseconds - milliseconds,
        bytes: entry.bytes - bytes,
        operations: entry.operations - operations,
      };
    }),
  };
}

/** How much of the steps' time the ops do not account for, in per cent; negative if they add up to more. */
export function unaccountedPercent(profile: {
  stepMilliseconds: number;
  entries: readonly { milliseconds: number }[];
}): number {
  const { entries, stepMilliseconds } = profile;
  const ops = entries.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return stepMilliseconds > 0 ? (1 - ops / stepMilliseconds) * 100 : 0;
}

/** Rows per forward while the prompt is read. */
const chunkRows = 64;

function argmax(logits: Float32Array): number {
  let top = 0;
  for (let token = 1; token < logits.length; token++) {
    if ((logits[token] as number) > (logits[top] as number)) top = token;
  }
  return top;
}

/**
 * Profiles `steps` steps of one token each, after the prompt has been read, which does not count.
 * Undefined where the backend keeps no times. @throws LLMOPT_SLOTS_EXHAUSTED and what `forward` throws
 */
export async function profileDecode(
  pipeline: Pipeline,
  prompt: readonly number[],
  steps: number,
): Promise<Profile | undefined> {
  const slot = pipeline.acquireSlot();
  if (slot === undefined) {
    throw new LlmoptError('LLMOPT_SLOTS_EXHAUSTED', 'No slot is free to profile in.', {
      hint: 'End running streams first.',
    });
  }
  const forward = async (tokens: readonly number[], from: number) => {
    const positions = tokens.map((_, row) => from + row);
    const { logits } = await pipeline.forward({
      tokens,
      slots: tokens.map(() => slot),
      positions,
      logits: [tokens.length - 1],
    });
    return argmax(logits);
  };
  try {
    let token = 0;
    for (let from = 0; from < prompt.length; from += chunkRows) {
      token = await forward(prompt.slice(from, from + chunkRows), from);
    }
    const before = structuredClone(pipeline.profile());
    for (let step = 0; step < steps; step++) token = await forward([token], prompt.length + step);
    return subtractProfile(pipeline.profile(), before);
  } finally {
    pipeline.releaseSlot(slot);
  }
}
