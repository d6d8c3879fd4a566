import { setImmediate } from 'node:timers/promises';
import { LlmoptError } from '@llmopt/core';
import type { BenchmarkControl } from '../benchmark.ts';
import { measureRounds, stepsFor } from '../kernels/rounds.ts';
import { type ShapeName, shapes } from '../kernels/shapes.ts';
import { checkInteger, checkOneOf } from '../options.ts';
import { silentReporter } from '../report/reporter.ts';
import { systemFacts } from '../result.ts';
import { pairedRatio, type Ratio } from '../statistics/ratio.ts';
import { type Summary, summarize } from '../statistics/summary.ts';
import { assertFileWritable, writeJson } from '../write.ts';
import { blockTokens, createCaches } from './cache.ts';

/** What `runPaged` may be told. Everything has a default. */
export interface PagedOptions {
  /** Sizes of the model. Default `135m`. */
  shape?: ShapeName;
  /** Tokens in the cache. Default 256, 1024, 4096. */
  lengths?: readonly number[];
  /** Measurements of everything that is compared. Default 30. */
  rounds?: number;
  /** Default `paged.json`. */
  output?: string;
}

/** Attention of one token in all layers, at a length. */
export interface PagedFigures {
  length: number;
  denseMs: Summary;
  pagedMs: Summary;
  /** Paged over dense, from paired rounds. */
  ratio: Ratio;
}

export interface PagedResult {
  kind: 'paged';
  createdAt: string;
  system: ReturnType<typeof systemFacts>;
  settings: { shape: ShapeName; blockTokens: number; rounds: number };
  lengths: PagedFigures[];
}

const measureOnce = (run: () => unknown, steps: number) => async () => {
  // Signals have their turn.
  await setImmediate();
  const began = performance.now();
  for (let step = 0; step < steps; step++) run();
  return (performance.now() - began) / steps;
};

/**
 * Measures what a block table costs: attention of one token over keys and values that lie one behind the other, and over the same ones in blocks
 * of 16 tokens that a table finds, by the same kernel on one thread. @throws LLMOPT_OPTION_INVALID, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function runPaged(options: PagedOptions = {}, control: BenchmarkControl = {}): Promise<PagedResult> {
  const { shape = '135m', lengths = [256, 1024, 4096], rounds = 30, output = 'paged.json' } = options;
  const { reporter = silentReporter, signal } = control;
  checkOneOf('shape', shape, Object.keys(shapes));
  checkInteger('rounds', rounds, 2, 10_000);
  for (const length of lengths) checkInteger('lengths', length, 1, 8192);
  await assertFileWritable(output);
  const figures: PagedFigures[] = [];
  try {
    for (const length of lengths) {
      reporter.stage(`${length} tokens`);
      const { dense, paged } = createCaches(shapes[shape], length);
      dense();
      const steps = stepsFor(await measureOnce(dense, 1)());
      const contestants = [
        { name: 'dense', measure: measureOnce(dense, steps) },
        { name: 'paged', measure: measureOnce(paged, steps) },
      ];
      const [denseMs = [], pagedMs = []] = await measureRounds(contestants, rounds, (fraction, detail) => {
        if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', 'The measurement was interrupted.');
        reporter.progress(fraction, detail);
      });
      figures.push({
        length,
        denseMs: summarize(denseMs) as Summary,
        pagedMs: summarize(pagedMs) as Summary,
        ratio: pairedRatio(pagedMs.map((value, round) => [value, denseMs[round] as number])) as Ratio,
      });
    }
  } finally {
    reporter.end();
  }
  const result: PagedResult = {
    kind: 'paged',
    createdAt: new Date().toISOString(),
    system: systemFacts(),
    settings: { shape, blockTokens, rounds },
    lengths: figures,
  };
  await writeJson(output, result);
  return result;
}
