import type { Profile } from '@llmopt/core';
import Table from 'cli-table3';
import { unaccountedPercent } from '../profile.ts';

/**
 * A profile as a table of milliseconds per step: a row per layer, a column per op kind, the dearest kind first; then
 * the sum of all ops against the time of the step.
 */
export function profileTable(title: string, profile: Profile): string {
  const { steps, stepMilliseconds, entries } = profile;
  const perStep = (milliseconds: number) => (milliseconds / Math.max(1, steps)).toFixed(3);
  const sum = (kind?: string, layer?: number | 'outside') =>
    entries
      .filter((entry) => kind === undefined || entry.kind === kind)
      .filter((entry) => layer === undefined || (entry.layer ?? 'outside') === layer)
      .reduce((total, { milliseconds }) => total + milliseconds, 0);
  const share = (milliseconds: number) =>
    stepMilliseconds > 0 ? `${((milliseconds / stepMilliseconds) * 100).toFixed(1)} %` : '';

  const kinds = [...new Set(entries.map(({ kind }) => kind))].sort((a, b) => sum(b) - sum(a));
  const places = [...new Set(entries.map(({ layer }) => layer ?? 'outside'))].sort((a, b) =>
    a === 'outside' ? 1 : b === 'outside' ? -1 : a - b,
  );
  const table = new Table({
    head: ['layer', ...kinds, 'sum'],
    colAligns: ['left', ...kinds.map(() => 'right' as const), 'right'],
    style: { head: [], border: [], compact: true },
  });
  for (const place of places) {
    const cells = kinds.map((kind) =>
      entries.some((entry) => entry.kind === kind && (entry.layer ?? 'outside') === place)
        ? perStep(sum(kind, place))
        : '',
    );
    table.push([String(place), ...cells, perStep(sum(undefined, place))]);
  }
  table.push(['all', ...kinds.map((kind) => perStep(sum(kind))), perStep(sum())]);
  table.push(['share', ...kinds.map((kind) => share(sum(kind))), share(sum())]);

  const unaccounted = unaccountedPercent(profile);
  const where = unaccounted >= 0 ? 'of the step lies outside the ops' : 'more in the ops than in the step';
  return [
    `${title}: milliseconds per decode step, mean of ${steps} steps`,
    table.toString(),
    `Ops ${perStep(sum())} ms, step ${perStep(stepMilliseconds)} ms: ${Math.abs(unaccounted).toFixed(1)} % ${where}.`,
  ].join('\n');
}
