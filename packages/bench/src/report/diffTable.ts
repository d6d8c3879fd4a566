import Table from 'cli-table3';
import pc from 'picocolors';
import type { Diff, DiffRow } from '../diff.ts';
import { verdictOf } from '../statistics/ratio.ts';

function verdict({ ratio, higherIsBetter }: DiffRow): string {
  if (!ratio) return 'not measured';
  const direction = verdictOf(ratio);
  if (direction === 'no difference shown') return direction;
  return (direction === 'higher') === higherIsBetter ? pc.green('better') : pc.red('worse');
}

/** A diff as text: warnings, then a row per figure. */
export function diffTable({ warnings, rows }: Diff): string {
  const table = new Table({
    head: ['B over A', 'ratio', '95 % interval', 'verdict'],
    colAligns: ['left', 'right', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) {
    const { label, ratio } = row;
    const interval = ratio?.ci95 ? `${ratio.ci95[0].toFixed(3)} to ${ratio.ci95[1].toFixed(3)}` : '';
    table.push([label, ratio ? `${ratio.mean.toFixed(3)}x` : '', interval, verdict(row)]);
  }
  return [...warnings.map((warning) => pc.yellow(`Warning: ${warning}.`)), table.toString()].join('\n');
}
