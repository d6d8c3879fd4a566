import type { SweepPoint, SweepResult } from '@llmopt/schema';
import Table from 'cli-table3';
import { formatFigure, formatNumber } from './format.ts';
import { systemLine } from './resultTable.ts';
import { speedVerdict } from './verdict.ts';

const row = (point: SweepPoint, withDense: boolean) => {
  const { name, sparsity, weightBytesPerToken, time, perplexity, toFloat32, toDense } = point;
  return [
    name,
    sparsity === undefined ? '' : sparsity.toFixed(3),
    formatNumber(weightBytesPerToken / 1e6),
    formatFigure(time?.timePerOutputTokenMs),
    speedVerdict(time?.decodeSpeedup),
    formatFigure(perplexity),
    formatFigure(toFloat32?.klDivergence),
    formatFigure(toFloat32?.topTokenAgreement, 100),
    ...(withDense ? [formatFigure(toDense?.klDivergence)] : []),
  ];
};

/** A sweep as text: a row per point. */
export function sweepReport(result: SweepResult): string {
  const { model, settings, system, points, baseline } = result;
  const withDense = points.some(({ toDense }) => toDense !== undefined);
  const table = new Table({
    head: [
      'mean (95 % interval)',
      'sparsity',
      'MB of weights per token',
      'ms per token',
      `against ${baseline}`,
      'perplexity',
      'KL to float32',
      'same top token, %',
      ...(withDense ? [`KL to ${baseline}`] : []),
    ],
    colAligns: ['left', 'right', 'right', 'right', 'left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const point of points) table.push(row(point, withDense));
  const threads = `${settings.threads} ${settings.threads === 1 ? 'thread' : 'threads'}`;
  const title = `${model.name} (${formatNumber(model.parameters / 1e6)} M parameters, ${model.quantization}), wasm ${settings.precision}, ${threads}`;
  const positions = Math.max(0, ...points.map(({ toFloat32 }) => toFloat32?.klDivergence.n ?? 0));
  const notes = points.flatMap(({ name, toFloat32 }) =>
    toFloat32 && toFloat32.klDivergence.n < positions
      ? [`${name} is compared at the first ${toFloat32.klDivergence.n} positions only, the others at ${positions}.`]
      : [],
  );
  return [`${title}\n${systemLine(system)}`, table.toString(), ...notes].join('\n\n');
}
