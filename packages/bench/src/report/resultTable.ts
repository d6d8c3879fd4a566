import type { Arm, BenchmarkResult, Figure } from '@llmopt/schema';
import Table from 'cli-table3';
import pc from 'picocolors';
import { backendTitle } from './backendTitle.ts';
import { formatFigure, formatNumber } from './format.ts';
import { peersReport } from './peersTable.ts';
import { profileTable } from './profileTable.ts';
import { speedVerdict } from './verdict.ts';

interface Row {
  label: string;
  of: (arm: Arm) => string;
  verdict?: string;
}

const meanOf = (figure: Figure | undefined) => formatNumber(figure?.mean ?? Number.NaN);

/** A reduction in per cent in words. */
function reductionVerdict(percent: Figure | undefined, noun: string): string {
  if (!percent) return '';
  const sign = percent.mean < 0 ? -1 : 1;
  const [low, high] = (percent.ci95 ?? []).map((end) => end * sign).sort((a, b) => a - b);
  const size = `${(percent.mean * sign).toFixed(1)} %`;
  if (low === undefined || high === undefined) return `${size}, no difference shown`;
  const text = `${size} (${low.toFixed(1)} to ${high.toFixed(1)})`;
  if (low <= 0) return `${text}, no difference shown`;
  return sign > 0 ? pc.green(`${text} less ${noun}`) : pc.red(`${text} more ${noun}`);
}

function rowsOf({ comparison }: BenchmarkResult): Row[] {
  return [
    {
      label: 'decode, tokens per second',
      of: ({ time }) => formatFigure(time.tokensPerSecond),
      verdict: speedVerdict(comparison?.decodeSpeedup),
    },
    {
      label: 'whole request, seconds',
      of: ({ time }) => formatFigure(time.totalSeconds),
      verdict: speedVerdict(comparison?.endToEndSpeedup),
    },
    { label: 'time to first token, ms', of: ({ time }) => formatFigure(time.timeToFirstTokenMs) },
    { label: 'prefill, tokens per second', of: ({ time }) => formatFigure(time.prefillTokensPerSecond) },
    { label: 'load, seconds', of: ({ time }) => formatFigure(time.loadSeconds) },
    { label: 'tokens in / out', of: ({ tokens }) => `${meanOf(tokens.input)} / ${meanOf(tokens.output)}` },
    {
      label: 'peak memory, MB',
      of: ({ memory }) => formatFigure(memory.peakMb),
      verdict: reductionVerdict(comparison?.memoryReductionPct, 'memory'),
    },
    { label: 'average memory, MB', of: ({ memory }) => formatFigure(memory.averageMb) },
    { label: 'perplexity', of: ({ quality }) => formatFigure(quality.perplexity) },
    { label: 'bits per byte', of: ({ quality }) => formatFigure(quality.bitsPerByte) },
    { label: 'KL divergence from baseline', of: ({ quality }) => formatFigure(quality.klDivergence) },
    { label: 'same top token, %', of: ({ quality }) => formatFigure(quality.topTokenAgreement, 100) },
  ];
}

/** The machine in one line. */
export function systemLine({ cpu, cores, memoryBandwidthGBs }: BenchmarkResult['system']): string {
  const reads = memoryBandwidthGBs === undefined ? '' : `, reads memory at ${formatNumber(memoryBandwidthGBs)} GB/s`;
  return `${cpu}, ${cores} cores${reads}`;
}

/** The result as text: a row per figure with the arms side by side, then other engines and profiles if there are any. */
export function resultReport(result: BenchmarkResult): string {
  const { arms, model, settings, system } = result;
  const table = new Table({
    head: ['mean (95 % interval)', ...arms.map(({ name }) => name), 'optimized against baseline'],
    colAligns: ['left', ...arms.map(() => 'right' as const), 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const { label, of, verdict = '' } of rowsOf(result)) {
    const cells = arms.map(of);
    if (cells.some((cell) => cell !== '')) table.push([label, ...cells, verdict]);
  }
  const title = `${model.name} (${model.architecture}, ${formatNumber(model.parameters / 1e6)} M parameters, ${model.quantization}), ${backendTitle(settings.backend, settings.backendSettings)}`;
  const profiles = arms.flatMap((arm) => (arm.profile ? [profileTable(`Profile of ${arm.name}`, arm.profile)] : []));
  const machine = systemLine(system);
  return [`${title}\n${machine}`, table.toString(), ...peersReport(result), ...profiles].join('\n\n');
}
