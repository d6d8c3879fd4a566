import type { Arm, BenchmarkResult, Figure } from '@llmopt/schema';
import { armColor } from './theme.ts';

/** A figure of one arm, ready to draw. */
export interface Point {
  arm: string;
  value: number;
  /** Ends of the interval; equal to the value where there is none. */
  low: number;
  high: number;
  label: string;
  color: string;
}

/** Three significant digits, without an exponent. */
export function formatNumber(value: number): string {
  const digits = value === 0 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString('en-US', {
    minimumFractionDigits: Math.min(digits, 6),
    maximumFractionDigits: Math.min(digits, 6),
  });
}

/** The arms for which a figure was measured, in the result's order. */
export function points(result: BenchmarkResult, of: (arm: Arm) => Figure | undefined): Point[] {
  return result.arms.flatMap((arm, index) => {
    const figure = of(arm);
    if (!figure) return [];
    const [low, high] = figure.ci95 ?? [figure.mean, figure.mean];
    return [
      {
        arm: arm.name,
        value: figure.mean,
        low,
        high,
        label: formatNumber(figure.mean),
        color: armColor(index),
      },
    ];
  });
}

const LONGEST_NAME = 24;

/** A name that stays readable beside a bar. Only for the eye: two long names may look the same. */
export const displayName = (name: string) =>
  name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;

/** The same for the labels of an axis, as a Vega expression. */
export const shortLabel = `length(datum.label) > ${LONGEST_NAME} ? slice(datum.label, 0, ${LONGEST_NAME - 1}) + '…' : datum.label`;

/** Mean and 95 % interval (normal) of a number per run. */
export function overRuns(arm: Arm, of: (run: Arm['runs'][number]) => number): Figure | undefined {
  const values = arm.runs.map(of).filter(Number.isFinite);
  const n = values.length;
  if (n === 0) return undefined;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const margin = 1.96 * Math.sqrt(variance / n);
  const sorted = values.toSorted((a, b) => a - b);
  const median = (sorted[Math.floor((n - 1) / 2)]! + sorted[Math.ceil((n - 1) / 2)]!) / 2;
  return { mean, median, ci95: n < 2 ? null : [mean - margin, mean + margin], n };
}
