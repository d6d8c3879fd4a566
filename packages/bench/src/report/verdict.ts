import type { Ratio } from '@llmopt/schema';
import pc from 'picocolors';

/** A ratio in words: `1.16x (1.12 to 1.20), faster`. */
export function speedVerdict(ratio: Ratio | undefined): string {
  if (!ratio) return '';
  const interval = ratio.ci95 ? ` (${ratio.ci95.map((end) => end.toFixed(2)).join(' to ')})` : '';
  const text = `${ratio.mean.toFixed(2)}x${interval}, ${ratio.verdict}`;
  return { faster: pc.green, slower: pc.red, 'no difference shown': String }[ratio.verdict](text);
}
