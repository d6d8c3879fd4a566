import type { ArmProcess } from './arms/parent.ts';
import type { RunRequest } from './arms/protocol.ts';
import { sampleMemory } from './memory.ts';

const bytesPerMb = 2 ** 20;

/** One timed request. A type, not an interface, so that it fits the schema's open objects. */
export type Sample = {
  /** Number of the run, from 0. */
  runIndex: number;
  promptIndex: number;
  totalSeconds: number;
  timeToFirstTokenMs: number;
  timePerOutputTokenMs: number;
  prefillTokensPerSecond: number;
  inputTokens: number;
  outputTokens: number;
  /** Characters of the text that was generated. */
  characters: number;
  /** Resident set of the arm's process while the request ran, in MB of 2^20 bytes. */
  peakMb: number;
  averageMb: number;
  /** Memory of the KV cache at the end; absent where the engine does not tell. */
  kvMb?: number;
  /** Figures that plugins report about themselves, by name. */
  metrics: Readonly<Record<string, number>>;
};

export interface Turn {
  /** Number of the run; negative for a warm-up. */
  run: number;
  prompt: number;
  /** Indices of the arms, in the order in which they run. */
  order: readonly number[];
}

/**
 * Who runs what, in order: every prompt of every run on all arms, one right after the other, and in the opposite order
 * the next time, so that neither a drift of the machine nor the place in the pair favours an arm.
 */
export function planTurns(counts: { arms: number; prompts: number; runs: number; warmup: number }): Turn[] {
  const forwards = Array.from({ length: counts.arms }, (_, arm) => arm);
  const backwards = forwards.toReversed();
  const turns: Turn[] = [];
  for (let run = -counts.warmup; run < counts.runs; run++) {
    for (let prompt = 0; prompt < counts.prompts; prompt++) {
      // Also alternates between the runs of one prompt.
      turns.push({ run, prompt, order: (run + counts.warmup + prompt) % 2 === 0 ? forwards : backwards });
    }
  }
  return turns;
}

type RequestLength = Pick<RunRequest, 'promptTokens' | 'maxNewTokens'>;

/** One request on one arm, with its memory watched from outside. */
async function runOnce(arm: ArmProcess, turn: Turn, length: RequestLength): Promise<Sample> {
  const memory = sampleMemory(arm.pid);
  const report = await arm
    .call('run', { prompt: turn.prompt, ...length, ignoreEndToken: true })
    .catch(async (error) => {
      await memory.stop();
      throw error;
    });
  const figures = (await memory.stop()) ?? { peakBytes: report.residentBytes, averageBytes: report.residentBytes };
  return {
    runIndex: turn.run,
    promptIndex: turn.prompt,
    totalSeconds: report.timings.totalMs / 1000,
    timeToFirstTokenMs: report.timings.timeToFirstTokenMs,
    timePerOutputTokenMs: report.timings.timePerOutputTokenMs,
    prefillTokensPerSecond: report.timings.prefillTokensPerSecond,
    inputTokens: report.usage.inputTokens,
    outputTokens: report.usage.outputTokens,
    characters: Array.from(report.text).length,
    peakMb: figures.peakBytes / bytesPerMb,
    averageMb: figures.averageBytes / bytesPerMb,
    ...(report.kvBytes !== undefined && { kvMb: report.kvBytes / bytesPerMb }),
    metrics: report.metrics,
  };
}

export interface TimedRuns extends RequestLength {
  prompts: number;
  runs: number;
  warmup: number;
  /** Called with every sample that counts, as it comes; warm-ups are dropped. */
  onSample: (arm: number, sample: Sample) => void;
  onProgress?: (fraction: number, detail: string) => void;
  /** Called when an arm fails, which then sits out; without it, or where it throws, the failure ends the runs. */
  onFailure?: (arm: number, error: unknown) => void;
}

/** Runs the arms in pairs. Samples that came before an error have been handed over. @throws what an arm throws, without `onFailure` */
export async function runTimed(arms: readonly ArmProcess[], options: TimedRuns): Promise<void> {
  const { prompts, runs, warmup, promptTokens, maxNewTokens, onSample, onProgress, onFailure } = options;
  const failed = new Set<number>();
  const turns = planTurns({ arms: arms.length, prompts, runs, warmup });
  let done = 0;
  for (const turn of turns) {
    const round = turn.run < 0 ? `warm-up ${turn.run + warmup + 1}/${warmup}` : `run ${turn.run + 1}/${runs}`;
    for (const index of turn.order) {
      const arm = arms[index] as ArmProcess;
      onProgress?.(done / (turns.length * arms.length), `${round}, prompt ${turn.prompt + 1}/${prompts}, ${arm.name}`);
      done++;
      if (failed.has(index)) continue;
      try {
        const sample = await runOnce(arm, turn, { promptTokens, maxNewTokens });
        if (turn.run >= 0) onSample(index, sample);
      } catch (error) {
        if (!onFailure) throw error;
        onFailure(index, error);
        failed.add(index);
      }
    }
  }
  onProgress?.(1, '');
}
