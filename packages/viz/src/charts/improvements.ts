import type { BenchmarkResult, Figure } from '@llmopt/schema';
import { formatNumber, points } from '../figures.ts';
import { page } from '../page.ts';
import { barPanel, type GainRow, gainPanel } from '../panels.ts';
import { verdictColors } from '../theme.ts';

/** A gain in words; below `neutral` it is a loss, and where the interval holds `neutral` nothing was shown. */
function gainRow(
  name: string,
  figure: Figure | undefined,
  neutral: number,
  text: (value: number) => string,
): GainRow[] {
  if (!figure) return [];
  const { mean, ci95, n } = figure;
  const [low, high] = ci95 ?? [mean, mean];
  const shown = n >= 2 && ci95 !== null && (low > neutral || high < neutral);
  const color = shown ? (mean > neutral ? verdictColors.better : verdictColors.worse) : verdictColors.none;
  const label = `${text(mean)}${ci95 ? ` (${text(low)} to ${text(high)})` : ''}${shown ? '' : ', no difference shown'}`;
  return [{ name, value: mean, low, high, label, color }];
}

export function speedupPanel({ comparison }: BenchmarkResult, width?: number) {
  const times = (value: number) => `${value.toFixed(2)}×`;
  return gainPanel({
    title: 'Speed against the baseline',
    subtitle: 'ratio of paired runs; right of the line is faster',
    unit: 'ratio, 1 = no change',
    neutral: 1,
    width,
    rows: [
      ...gainRow('decode', comparison?.decodeSpeedup, 1, times),
      ...gainRow('whole request', comparison?.endToEndSpeedup, 1, times),
      ...gainRow('characters per second', comparison?.charactersPerSecondGain, 1, times),
    ],
  });
}

export function reductionPanel({ comparison }: BenchmarkResult, width?: number) {
  // Rounded first, so that nothing reads as minus zero.
  const percent = (value: number) => `${(Math.round(value * 10) / 10 || 0).toFixed(1)} %`;
  return gainPanel({
    title: 'Savings against the baseline',
    subtitle: 'right of the line is less time, fewer tokens, less memory',
    unit: 'per cent, 0 = no change',
    neutral: 0,
    width,
    rows: [
      ...gainRow('time', comparison?.timeReductionPct, 0, percent),
      ...gainRow('tokens', comparison?.tokenReductionPct, 0, percent),
      ...gainRow('peak memory', comparison?.memoryReductionPct, 0, percent),
    ],
  });
}

export function perplexityPanel(result: BenchmarkResult) {
  return barPanel({
    title: 'Perplexity',
    subtitle: 'on the quality text; less is better',
    unit: 'perplexity',
    points: points(result, (arm) => arm.quality.perplexity),
  });
}

export function divergencePanel(result: BenchmarkResult) {
  return barPanel({
    title: 'Divergence from the baseline',
    subtitle: '0 = the same distributions; less is better',
    unit: 'mean KL, nats per token',
    points: points(result, (arm) => arm.quality.klDivergence),
  });
}

export function agreementPanel(result: BenchmarkResult) {
  const share = points(result, (arm) => arm.quality.topTokenAgreement);
  return barPanel({
    title: 'Same first choice as the baseline',
    subtitle: 'more is better',
    unit: 'per cent of positions',
    points: share.map((point) => ({
      ...point,
      value: point.value * 100,
      low: point.low * 100,
      high: point.high * 100,
      label: `${formatNumber(point.value * 100)} %`,
    })),
  });
}

export function improvements(result: BenchmarkResult) {
  return page('What the optimisation gains, and what it costs', result, [
    [speedupPanel(result, 640)],
    [reductionPanel(result, 640)],
    [perplexityPanel(result), divergencePanel(result)],
    [agreementPanel(result)],
  ]);
}
