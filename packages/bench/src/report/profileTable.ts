import type { Profile } from '@llmopt/schema';
import Table from 'cli-table3';
import { unaccountedPercent } from '../profile.ts';

/**
 * A profile as a table of milliseconds per step: a row per layer, a column per op kind, the dearest kind first; then
 * the sum of all ops against the time of the step.
 */
export function profileTable(title: string, profile: Profile): string {
  const { steps, stepMilliseconds, entries } = profile;
  const show = (milliseconds: number) => milliseconds.toFixed(3);
  const sum = (kind?: string, layer?: number) =>
    entries
      .filter((entry) => kind === undefined || entry.kind === kind)
      .filter((entry) => layer === undefined || entry.layer === layer)
      .reduce((total, { milliseconds }) => total + milliseconds, 0);
  const share = (milliseconds: number) =>
    stepMilliseconds > 0 ? `${((milliseconds / stepMilliseconds) * 100).toFixed(1)} %` : '';

  const kinds = [...new Set(entries.map(({ kind }) => kind))].sort((a, b) => sum(b) - sum(a));
  // Layer -1, for what lies outside the layers, comes last.
  const places = [...new Set(entries.map(({ layer }) => layer))].sort((a, b) => (a < 0 ? 1 : b < 0 ? -1 : a - b));
  const table = new Table({
    head: ['layer', ...kinds, 'sum'],
    colAligns: ['left', ...kinds.map(() => 'right' as const), 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const place of places) {
    const cells = kinds.map((kind) =>
      entries.some((entry) => entry.kind === kind && entry.layer === place) ? show(sum(kind, place)) : '',
    );
    table.push([place < 0 ? 'outside' : String(place), ...cells, show(sum(undefined, place))]);
  }
  table.push(['all', ...kinds.map((kind) => show(sum(kind))), show(sum())]);
  table.push(['share', ...kinds.map((kind) => share(sum(kind))), share(sum())]);

  const unaccounted = unaccountedPercent(profile);
  const where = unaccounted >= 0 ? 'of the step lies outside the ops' : 'more in the ops than in the step';
  return [
    `${title}: milliseconds per decode step, mean of ${steps} steps`,
    table.toString(),
    `Ops ${show(sum())} ms, step ${show(stepMilliseconds)} ms: ${Math.abs(unaccounted).toFixed(1)} % ${where}.`,
  ].join('\n');
}
