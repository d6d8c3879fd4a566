import type { ErrorCode, GenerateResult, Profile, Progress, ReadBandwidth } from '@llmopt/core';
import type { PeerLoad, PeerLoadReport } from '../peers/protocol.ts';
import type { Divergences } from '../quality/divergences.ts';
import type { QualityReport } from '../quality/evaluate.ts';
import type { Window } from '../quality/windows.ts';
import type { ServeInput, ServeReport } from '../serve/protocol.ts';
import type { ArmSpec, BackendSpec } from './spec.ts';

export interface LoadReport {
  loadSeconds: number;
  model: { name: string; architecture: string; parameters: number; file: string; quantization: string };
  /** What the backend says about itself: threads, precision, device, ... */
  backend: Readonly<Record<string, string | number | boolean>>;
  plugins: { name: string; version: string; options: unknown; fidelity: 'exact' | 'approximate' | 'vocabulary' }[];
  /** Token ids of each prompt, as the model reads it. */
  promptTokens: number[][];
  /** Whether the prompts went through the model's chat template. */
  chatTemplate: boolean;
  /** Plan, graph and memory as text. */
  description: string;
}

export interface RunReport {
  usage: GenerateResult['usage'];
  timings: GenerateResult['timings'];
  finishReason: GenerateResult['finishReason'];
  text: string;
  /** Memory of the KV cache in use at the end; absent where the engine does not tell. */
  kvBytes?: number;
  /** Figures that plugins report about themselves, by name. */
  metrics: Readonly<Record<string, number>>;
  /** Resident set at the end, for systems that do not tell it from outside. */
  residentBytes: number;
}

export interface RunRequest {
  /** Index into the prompts that were loaded. */
  prompt: number;
  /** Read only so many of its tokens. Default: all. */
  promptTokens?: number;
  maxNewTokens: number;
  ignoreEndToken: boolean;
}

export interface ProbeReport {
  /** What the backend says about itself once it has run something. */
  settings: LoadReport['backend'];
  /** What it wrote to the console meanwhile. */
  notes: string[];
}

/** A text, how many of its first positions to compute, and the path of a file for their logits. */
export interface PositionsInput {
  text: string;
  positions: number;
  file: string;
}

/** What an arm's process can be asked, with input and answer. */
export interface ArmCalls {
  load: { input: { spec: ArmSpec; prompts: readonly string[]; maxNewTokens: number }; output: LoadReport };
  /** Make sure that a backend works here, by running something small. Needs no model. */
  probe: { input: { backend: BackendSpec }; output: ProbeReport };
  /** The same as `load` for an arm of another engine. */
  loadPeer: { input: PeerLoad; output: PeerLoadReport };
  run: { input: RunRequest; output: RunReport };
  /** Replay many requests, with several in flight; of the loaded model, or of another engine. */
  serve: { input: ServeInput; output: ServeReport };
  /** The same as `compareLogits` for an arm of another engine: of windows, float32 `[positions, vocabulary]` in the file. */
  comparePeer: {
    input: { windows: readonly Window[]; file: string; vocabularySize: number };
    output: Divergences;
  };
  /** Profile decode steps behind a prompt. */
  profile: { input: { prompt: number; steps: number }; output: Profile | undefined };
  /** CPU time that the process has used since its start. */
  cpu: { input: undefined; output: { userSeconds: number; systemSeconds: number } };
  /** How fast the backend's threads read memory. Needs no model. */
  bandwidth: { input: { threads: number | undefined }; output: ReadBandwidth };
  quality: {
    input: { baseline: ArmSpec; optimized: ArmSpec; text: string; maxTokens: number; seed: number };
    output: QualityReport;
  };
  /** Write down the loaded model's logits; `losses` are its negative log-likelihoods, one per position. */
  writeLogits: { input: PositionsInput; output: { positions: number; losses: number[] } };
  /** Compare the loaded model's logits with those that other arms wrote, position by position: one answer per file. */
  compareLogits: { input: Omit<PositionsInput, 'file'> & { files: readonly string[] }; output: Divergences[] };
}

export type ArmCall = keyof ArmCalls;

/** Tells how far a call is; `fraction` is from 0 to 1. */
export type Report = (progress: { stage: string; fraction: number }) => void;

/** What a process does when asked. */
export type Handlers<Call extends ArmCall = ArmCall> = {
  [Name in Call]: (input: ArmCalls[Name]['input'], report: Report) => Promise<ArmCalls[Name]['output']>;
};

export type ArmRequest = { [Call in ArmCall]: { id: number; call: Call; input: ArmCalls[Call]['input'] } }[ArmCall];

/** How an error crosses the process boundary. */
export interface PlainError {
  code: ErrorCode | undefined;
  message: string;
  stack: string | undefined;
}

export type ArmMessage =
  | { id: number; kind: 'done'; output: ArmCalls[ArmCall]['output'] }
  | { id: number; kind: 'failed'; error: PlainError }
  | { id: number; kind: 'progress'; progress: Pick<Progress, 'fraction'> & { stage: string } };
