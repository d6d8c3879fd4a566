import type { ReadBandwidth } from '@llmopt/core';
import { startArm } from './arms/parent.ts';

/**
 * How fast the wasm backend's threads read memory; `threads` as the backend takes them. A process of its own has the 512 MiB that this
 * takes, so that they are in nobody's figures. @throws LLMOPT_BENCH_FAILED, LLMOPT_ABORTED and what `measureReadBandwidth` throws
 */
export async function measureBandwidth(
  threads: number | undefined,
  signal: AbortSignal | undefined,
): Promise<ReadBandwidth> {
  const arm = startArm('bandwidth', { signal });
  try {
    return await arm.call('bandwidth', { threads });
  } finally {
    await arm.stop();
  }
}
