import type { Profile } from '@llmopt/core';

const keyOf = ({ kind, layer }: Profile['entries'][number]) => `${kind} ${layer ?? ''}`;

/** What happened between two profiles of the same pipeline; `undefined` without a later one. */
export function subtractProfile(after: Profile | undefined, before: Profile | undefined): Profile | undefined {
  if (!after || !before) return after;
  const earlier = new Map(before.entries.map((entry) => [keyOf(entry), entry.milliseconds]));
  return {
    steps: after.steps - before.steps,
    stepMilliseconds: after.stepMilliseconds - before.stepMilliseconds,
    entries: after.entries.map((entry) => ({
      ...entry,
      milliseconds: entry.milliseconds - (earlier.get(keyOf(entry)) ?? 0),
    })),
  };
}

/** How much of the steps' time the ops do not account for, in per cent; negative if they add up to more. */
export function unaccountedPercent({ entries, stepMilliseconds }: Profile): number {
  const ops = entries.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return stepMilliseconds > 0 ? (1 - ops / stepMilliseconds) * 100 : 0;
}
