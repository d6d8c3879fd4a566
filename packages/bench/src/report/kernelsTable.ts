import Table from 'cli-table3';
import type { ProfileFigures } from '../kernels/figures.ts';
import type { KernelsResult } from '../kernels/kernels.ts';
import { formatNumber } from './format.ts';
import { systemLine } from './resultTable.ts';
import { speedVerdict } from './verdict.ts';

const tableOf = (head: string[], rows: readonly string[][]): string => {
  const table = new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  table.push(...rows);
  return table.toString();
};

const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const optional = (value: number | undefined) => (value === undefined ? '' : formatNumber(value));

function ratioText({ mean, ci95 }: { mean: number; ci95: readonly number[] | null }): string {
  return ci95 ? `${mean.toFixed(2)} (${ci95.map((end) => end.toFixed(2)).join(' to ')})` : mean.toFixed(2);
}

function profileTable({ name, steps, millisecondsPerStep, kernels }: ProfileFigures): string {
  const rows = kernels.map((kernel) => [
    kernel.kernel,
    kernel.shape ?? '',
    formatNumber(kernel.callsPerStep),
    formatNumber(kernel.microsecondsPerCall),
    optional(kernel.gigabytesPerSecond),
    optional(kernel.gigaoperationsPerSecond),
    percent(kernel.share),
  ]);
  const title = `${name}: mean of ${steps} forwards of ${formatNumber(millisecondsPerStep)} ms`;
  return `${title}\n${tableOf(['kernel', 'shape', 'calls', 'µs per call', 'GB/s', 'GOP/s', 'share'], rows)}`;
}

/** The result as text: times are medians, ratios geometric means with their 95 % intervals. */
export function kernelsReport(result: KernelsResult): string {
  const { model, settings, system, load, readBandwidthGBs, decode, prefill } = result;
  const { before, after, best, disturbed } = readBandwidthGBs;
  const streams = result.rows.map(({ rows, milliseconds, ratio }) => [
    String(rows),
    formatNumber(milliseconds.median),
    formatNumber((rows * 1000) / milliseconds.median),
    rows === 1 ? '' : ratioText(ratio),
  ]);
  const sparse = result.larosa.map(({ sparsity, milliseconds, tokensPerSecond, decodeSpeedup }) => [
    String(sparsity),
    formatNumber(milliseconds.median),
    formatNumber(tokensPerSecond),
    speedVerdict(decodeSpeedup),
  ]);
  return [
    `${model.name} (${formatNumber(model.parameters / 1e6)} M parameters, ${formatNumber(model.weightsBytes / 1e6)} MB packed), ${settings.threads} threads, ${settings.rounds} rounds\n${systemLine(system)}`,
    tableOf(
      ['median', ''],
      [
        [`load, ${load.packed ? 'packing the weights' : 'weights from the cache'}, s`, formatNumber(load.seconds)],
        [
          'peak memory while loading, MB (over the packed weights)',
          `${formatNumber(load.peakBytes / 1e6)} (${load.peakOverWeights.toFixed(2)}x)`,
        ],
        [
          'read loop before / after, GB/s',
          `${formatNumber(before)} / ${formatNumber(after)}${disturbed ? ' (disturbed)' : ''}`,
        ],
        [`decode step at ${settings.prompt} tokens, ms`, formatNumber(decode.milliseconds.median)],
        ['decode, tokens per second', formatNumber(decode.tokensPerSecond)],
        ['weight bytes per token, MB', formatNumber(decode.weightBytes / 1e6)],
        ['weight bytes read, GB/s', formatNumber(decode.weightGBs)],
        [`share of the read loop (${formatNumber(best)} GB/s)`, percent(decode.shareOfReadBandwidth)],
        ['processor time while decoding', percent(result.processorShare)],
        [
          `prefill of ${prefill.tokens} tokens, tokens per second (n = ${prefill.milliseconds.n})`,
          formatNumber(prefill.tokensPerSecond),
        ],
      ],
    ),
    tableOf(['rows', 'ms', 'tokens/s', 'time over one row'], streams),
    ...(sparse.length > 0 ? [tableOf(['LaRoSA', 'ms', 'tokens/s', 'against dense'], sparse)] : []),
    ...result.profiles.map(profileTable),
    'GB/s and GOP/s are of weights; kernels that skip channels count as if they skipped none.',
  ].join('\n\n');
}
