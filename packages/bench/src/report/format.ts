import type { Summary } from '../statistics/summary.ts';

/** A number with about three digits that mean something: 1234, 123, 12.3, 1.23, 0.0123, 1.2e-7. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const magnitude = Math.abs(value);
  if (magnitude === 0) return '0';
  if (magnitude < 1e-4) return value.toExponential(1);
  if (magnitude >= 100) return value.toFixed(0);
  const decimals = Math.max(0, 2 - Math.floor(Math.log10(magnitude)));
  return value.toFixed(Math.min(decimals, 6));
}

/** Mean and, if there was more than one sample, its interval: `62.1 (60.0 to 64.2)`. */
export function formatFigure(figure: Summary | undefined, scale = 1): string {
  if (!figure) return '';
  const text = formatNumber(figure.mean * scale);
  if (!figure.ci95) return text;
  const [low, high] = figure.ci95.map((end) => formatNumber(end * scale));
  return low === text && high === text ? text : `${text} (${low} to ${high})`;
}
