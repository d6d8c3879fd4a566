import type { Reporter } from '../report/reporter.ts';
import { type ArmProcess, startArm } from './parent.ts';
import type { LoadReport } from './protocol.ts';
import type { ArmSpec } from './spec.ts';

export interface LoadOptions {
  prompts: readonly string[];
  /** The most tokens that a request will ask for. */
  maxNewTokens: number;
  reporter: Reporter;
  signal: AbortSignal | undefined;
}

/**
 * A process with the arm loaded. One that had to pack weights is started anew, for packing shows in its memory and
 * load time, and would favour the arm that comes second.
 * @throws what loading the model throws, LLMOPT_BENCH_FAILED, LLMOPT_ABORTED
 */
export async function loadArm(
  spec: ArmSpec,
  { prompts, maxNewTokens, reporter, signal }: LoadOptions,
): Promise<{ arm: ArmProcess; report: LoadReport }> {
  const load = async () => {
    const arm = startArm(spec.name, { signal });
    let packed = false;
    try {
      const report = await arm.call(
        'load',
        { spec, prompts, maxNewTokens },
        {
          onProgress: ({ stage, fraction }) => {
            packed ||= stage === 'pack';
            reporter.progress(fraction, stage);
          },
        },
      );
      return { arm, report, packed };
    } catch (error) {
      await arm.stop();
      throw error;
    }
  };
  const first = await load();
  if (!first.packed) return first;
  await first.arm.stop();
  return load();
}
