import { LlmoptError } from '@llmopt/core';
import { type BenchmarkResult, parseBenchmarkResult, type Run } from '@llmopt/schema';
import { readText } from './options.ts';
import { pairSamples } from './result.ts';
import { type Ratio, welchRatio } from './statistics/ratio.ts';

/** One figure of B over the same of A. */
export interface DiffRow {
  label: string;
  ratio: Ratio | undefined;
  /** Whether a ratio above 1 is good news. */
  higherIsBetter: boolean;
}

export interface Diff {
  /** What differs between the two measurements besides the program: settings, model, machine. */
  warnings: string[];
  rows: DiffRow[];
  /** Speed-up in decoding of B over that of A: what `--fail-below` looks at. */
  decodeSpeedup: Ratio | undefined;
}

/** A result file. @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_RESULT_INVALID */
export async function readResult(path: string): Promise<BenchmarkResult> {
  const text = await readText(path);
  try {
    return parseBenchmarkResult(JSON.parse(text));
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    const what = cause instanceof SyntaxError ? `not a benchmark result but broken JSON: ${said}` : said;
    throw new LlmoptError('LLMOPT_RESULT_INVALID', `${path} is ${what}.`, {
      hint: 'Give a file that llmopt-bench has written.',
      where: { path },
      cause,
    });
  }
}

const show = (value: unknown) => (typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing'));

/** Fields of two records that are not the same, as sentences. */
function differences(title: string, a: object, b: object, names: readonly string[]): string[] {
  const fieldsA = a as Record<string, unknown>;
  const fieldsB = b as Record<string, unknown>;
  return names
    .filter((name) => JSON.stringify(fieldsA[name]) !== JSON.stringify(fieldsB[name]))
    .map((name) => `${title} ${name} differs: ${show(fieldsA[name])} in A, ${show(fieldsB[name])} in B`);
}

const promptsOf = (result: BenchmarkResult) => JSON.stringify(result.arms[0]?.responses.map(({ prompt }) => prompt));

const armOf = (result: BenchmarkResult, name: string) => result.arms.find((arm) => arm.name === name);

function warningsOf(a: BenchmarkResult, b: BenchmarkResult): string[] {
  const settingNames = [...new Set([...Object.keys(a.settings), ...Object.keys(b.settings)])];
  const incomplete = [a, b].flatMap((result, index) => (result.incomplete ? [`${'AB'[index]} is incomplete`] : []));
  return [
    ...incomplete,
    ...differences('model', a.model, b.model, ['name', 'architecture', 'parameters', 'quantization']),
    ...differences('setting', a.settings, b.settings, settingNames),
    ...(promptsOf(a) === promptsOf(b) ? [] : ['the prompts differ']),
    ...a.arms.flatMap((arm) => {
      const other = armOf(b, arm.name);
      return other ? differences(arm.name, arm, other, ['plugins', 'pluginDetails']) : [`B has no arm ${arm.name}`];
    }),
    ...differences('system', a.system, b.system, ['cpu', 'cores', 'node', 'platform']),
  ];
}

const decodeRate = (run: Run) => 1000 / run.timePerOutputTokenMs;

/** Optimised over baseline, pair by pair. */
function pairRatios(result: BenchmarkResult, of: (run: Run) => number): number[] {
  const [baseline, optimized] = [armOf(result, 'baseline'), armOf(result, 'optimized')];
  if (!baseline || !optimized) return [];
  return pairSamples(baseline.runs, optimized.runs).map(([first, second]) => of(second) / of(first));
}

/**
 * Compares two results, B against A. The samples come from different times, so nothing is paired across files: ratios
 * have Welch's interval on the logarithms. Speed-ups are paired within each file, so the machine's speed cancels out.
 */
export function diffResults(a: BenchmarkResult, b: BenchmarkResult): Diff {
  const decodeSpeedup = welchRatio(pairRatios(b, decodeRate), pairRatios(a, decodeRate));
  const endToEnd = (run: Run) => 1 / run.totalSeconds;
  const rows: DiffRow[] = [
    { label: 'decode speed-up', ratio: decodeSpeedup, higherIsBetter: true },
    {
      label: 'end-to-end speed-up',
      ratio: welchRatio(pairRatios(b, endToEnd), pairRatios(a, endToEnd)),
      higherIsBetter: true,
    },
  ];
  const figures: [label: string, of: (run: Run) => number, higherIsBetter: boolean][] = [
    ['decode tokens per second', decodeRate, true],
    ['time to first token', (run) => run.timeToFirstTokenMs, false],
    ['total time', (run) => run.totalSeconds, false],
    ['peak memory', (run) => run.peakMb, false],
  ];
  for (const armA of a.arms) {
    const armB = armOf(b, armA.name);
    if (!armB) continue;
    for (const [label, of, higherIsBetter] of figures) {
      rows.push({
        label: `${armA.name}: ${label}`,
        ratio: welchRatio(armB.runs.map(of), armA.runs.map(of)),
        higherIsBetter,
      });
    }
  }
  return { warnings: warningsOf(a, b), rows, decodeSpeedup };
}

/**
 * Passes unless the decode speed-up of B is below `limit` times that of A, and surely so: the whole interval lies below.
 * @throws LLMOPT_REGRESSION, and LLMOPT_RESULT_INVALID where the files hold no pairs to judge by
 */
export function assertNoRegression({ decodeSpeedup }: Diff, limit: number): void {
  if (!decodeSpeedup) {
    throw new LlmoptError(
      'LLMOPT_RESULT_INVALID',
      'There is no decode speed-up to judge: a file lacks runs of both arms.',
      {
        hint: 'Measure again, to the end.',
      },
    );
  }
  if (!decodeSpeedup.ci95 || decodeSpeedup.ci95[1] >= limit) return;
  const [low, high] = decodeSpeedup.ci95;
  const numbers = `${decodeSpeedup.mean.toFixed(3)} (95 % interval ${low.toFixed(3)} to ${high.toFixed(3)})`;
  throw new LlmoptError('LLMOPT_REGRESSION', `The decode speed-up of B is ${numbers} of that of A, below ${limit}.`);
}
