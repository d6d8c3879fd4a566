import type { MemorySample } from './memorySamples.ts';
import type { ReplayOptions, ReplayRecord, ReplayRequest } from './replay.ts';

/** Requests to replay, and how. */
export interface ServeInput extends Omit<ReplayOptions, 'onProgress'> {
  requests: readonly ReplayRequest[];
}

export interface ServeReport {
  records: ReplayRecord[];
  wallMs: number;
  /** Samples of the memory during the replay, and one after it. */
  memory: MemorySample[];
  /** Resident set of the process before the first request. */
  processBytesBefore: number;
  /** The most sequences that held keys and values at once; absent where the engine does not tell. */
  mostHeld?: number;
  /** Slots that there are. */
  slots: number;
  /** Figures that plugins report about themselves, by name. */
  metrics: Readonly<Record<string, number>>;
}
