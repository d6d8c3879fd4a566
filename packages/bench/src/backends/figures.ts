import { LlmoptError } from '@llmopt/core';
import type { Arm, BenchmarkResult, Ratio } from '@llmopt/schema';
import { modelName } from '../modelName.ts';
import { bootstrapped } from '../quality/evaluate.ts';
import { backendTitle } from '../report/backendTitle.ts';
import { memoryFigures, pairSamples, ratioOf, systemFacts, timeFigures, tokenFigures } from '../result.ts';
import type { Sample } from '../runner.ts';
import type { Summary } from '../statistics/summary.ts';
import type { BackendRecord } from './measure.ts';
import type { BackendsSettings } from './options.ts';
import type { Plan } from './plan.ts';

/** A backend that does not work here, or failed on the way. */
export type MissingBackend = { name: string; title: string; reason: string; code?: string };

/** A backend's figures: times and memory as in a benchmark's result. */
export type BackendFigures = {
  name: string;
  /** Name, precision and device in a few words. */
  title: string;
  /** What the backend says of itself: precision, mode and device, executionProviders, threads, ... */
  settings: Readonly<Record<string, string | number | boolean>>;
  /** What it wrote to the console while it was tried. */
  notes: string[];
  plan: Plan;
  time: Arm['time'];
  tokens: Arm['tokens'];
  memory: Arm['memory'];
  /** Paired with the first backend of those that took turns: above 1 where this one decodes faster. */
  decodeSpeedup?: Ratio;
  /** Against the reference's logits. `n` counts positions. */
  quality?: { klDivergence: Summary; topTokenAgreement: Summary };
  runs: Sample[];
};

/** What `llmopt-bench backends` measures. */
export type BackendsResult = {
  kind: 'backends';
  createdAt: string;
  system: BenchmarkResult['system'];
  model: BenchmarkResult['model'];
  settings: {
    prompts: number;
    maxNewTokens: number;
    runs: number;
    warmup: number;
    seed: number;
    requestSeconds: number;
    qualityTokens: number;
    larosaSparsity?: number;
  };
  backends: (BackendFigures | MissingBackend)[];
};

/** Whether a row has figures. */
export const isMeasured = (row: BackendFigures | MissingBackend): row is BackendFigures => 'time' in row;

function missing({ contestant, failure }: BackendRecord): MissingBackend {
  const { title, backend } = contestant;
  const reason = failure instanceof Error ? failure.message : String(failure);
  return { name: backend.name, title, reason, ...(LlmoptError.isInstance(failure) && { code: failure.code }) };
}

function figures(
  record: BackendRecord,
  first: BackendRecord | undefined,
  seed: number,
): BackendFigures | MissingBackend {
  const { contestant, failure, load, plan, samples, notes, divergences } = record;
  if (failure !== undefined || !load || !plan) return missing(record);
  const { name } = contestant.backend;
  const pairs = plan.interleaved && first && first !== record ? pairSamples(first.samples, samples) : [];
  return {
    name,
    title: backendTitle(name, load.backend),
    settings: load.backend,
    notes,
    plan,
    time: timeFigures(samples, load),
    tokens: tokenFigures(samples),
    memory: memoryFigures(samples),
    ...(pairs.length > 0 && {
      decodeSpeedup: ratioOf(pairs, (own, other) => other.timePerOutputTokenMs / own.timePerOutputTokenMs),
    }),
    ...(divergences && {
      quality: {
        klDivergence: bootstrapped(divergences.divergences, seed),
        topTokenAgreement: bootstrapped(divergences.agreements, seed),
      },
    }),
    runs: samples,
  };
}

/** The result. @throws what the last backend threw if none works */
export function backendsResult(
  records: readonly BackendRecord[],
  settings: BackendsSettings,
  createdAt: Date,
): BackendsResult {
  const loaded = records.find(({ failure, load }) => failure === undefined && load);
  if (!loaded?.load) throw records.at(-1)?.failure;
  const first = records.find(({ failure, plan }) => failure === undefined && plan?.interleaved);
  const { maxNewTokens, runs, warmup, seed, requestSeconds, qualityTokens, larosaSparsity } = settings;
  return {
    kind: 'backends',
    createdAt: createdAt.toISOString(),
    system: systemFacts(),
    model: { ...loaded.load.model, name: modelName(settings.model) },
    settings: {
      prompts: settings.prompts.length,
      ...{ maxNewTokens, runs, warmup, seed, requestSeconds, qualityTokens },
      ...(larosaSparsity !== undefined && { larosaSparsity }),
    },
    backends: records.map((record) => figures(record, first, seed)),
  };
}
