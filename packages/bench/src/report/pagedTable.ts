import Table from 'cli-table3';
import type { PagedResult } from '../paged/paged.ts';
import { formatFigure } from './format.ts';
import { systemLine } from './resultTable.ts';

/** What a block table costs, as text: a row per length. */
export function pagedReport({ settings, system, lengths }: PagedResult): string {
  const table = new Table({
    head: ['tokens in the cache', 'dense, ms per token', 'paged, ms per token', 'paged over dense'],
    colAligns: ['right', 'right', 'right', 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const { length, denseMs, pagedMs, ratio } of lengths) {
    table.push([String(length), formatFigure(denseMs), formatFigure(pagedMs), formatFigure(ratio)]);
  }
  const title = `Attention of one token in all layers of ${settings.shape}, one thread; blocks of ${settings.blockTokens} tokens`;
  return `${title}\n${systemLine(system)}\n\n${table.toString()}`;
}
