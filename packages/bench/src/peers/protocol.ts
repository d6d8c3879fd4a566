import type { PeerName } from './names.ts';

/** How an engine is set up; what is absent is its own choice. */
export interface PeerSetting {
  /** What tables call it. */
  name: string;
  /** Threads that compute. */
  threads?: number;
  /** Threads of the pool on which Node runs native calls (UV_THREADPOOL_SIZE); a property of the process. */
  poolThreads?: number;
}

export interface PeerLoad {
  engine: PeerName;
  /** Path of the model's file, or of the folder that an engine loads. */
  file: string;
  setting: PeerSetting;
  /** Token ids of each prompt. */
  prompts: readonly (readonly number[])[];
  /** The most tokens that a request will ask for. */
  maxNewTokens: number;
  /** Requests that may be in flight at once. Default 1. */
  sequences?: number;
  /** Tokens of each of them. Default: as many as the longest request takes. */
  contextLength?: number;
}

export interface PeerLoadReport {
  loadSeconds: number;
  /** What the engine says about itself: threads, size of batch and context, ... */
  settings: Readonly<Record<string, string | number | boolean>>;
}
