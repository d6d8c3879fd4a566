import { startArm } from '../arms/parent.ts';
import type { ProbeReport } from '../arms/protocol.ts';
import type { BackendSpec } from '../arms/spec.ts';

/**
 * Makes sure that a backend works here, before anything else is run: in a process of its own, so that nothing of it stays behind.
 * @throws what the backend throws where it does not work, LLMOPT_BENCH_FAILED, LLMOPT_ABORTED
 */
export async function tryBackend(backend: BackendSpec, signal: AbortSignal | undefined): Promise<ProbeReport> {
  const arm = startArm(backend.name, { signal });
  try {
    return await arm.call('probe', { backend });
  } finally {
    await arm.stop();
  }
}
