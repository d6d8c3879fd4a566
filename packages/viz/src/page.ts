import type { BenchmarkResult } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { displayName } from './figures.ts';
import type { Panel } from './panels.ts';

// Wide enough for what the panels write beside their bars, and the same for all panels, so that these stand in columns.
const PIXELS_PER_CHARACTER = 6.6;
const SHORTEST_LABEL = 21;
const COLUMN_GAP = 44;

/** Rows of panels under one title and what was run on what. */
export function page(title: string, result: BenchmarkResult, rows: readonly (readonly Panel[])[]): TopLevelSpec {
  const longest = Math.max(SHORTEST_LABEL, ...result.arms.map(({ name }) => displayName(name).length));
  const extent = Math.ceil(longest * PIXELS_PER_CHARACTER);
  return {
    title: { text: title, subtitle: provenance(result), fontSize: 18, subtitlePadding: 6, offset: 24 },
    // Flush: columns stand where the plots are, whatever is written around them.
    vconcat: rows.map((panels) => ({ hconcat: [...panels], bounds: 'flush', spacing: extent + COLUMN_GAP })),
    spacing: 32,
    config: { axisY: { minExtent: extent, maxExtent: extent } },
  } as unknown as TopLevelSpec;
}

function provenance(result: BenchmarkResult): string[] {
  const { model, settings, system } = result;
  const precision = typeof settings.precision === 'string' ? ` ${settings.precision}` : '';
  const threads = `${settings.threads} ${settings.threads === 1 ? 'thread' : 'threads'}`;
  const samples = Math.max(0, ...result.arms.map(({ runs }) => runs.length));
  return [
    ...(result.incomplete ? ['INCOMPLETE: the run was interrupted; what is shown was measured before'] : []),
    `${model.name} (${model.quantization}) · ${settings.backend}${precision}, ${threads}`,
    `${system.cpu}, ${system.cores} cores · Node ${system.node} · ${result.createdAt.slice(0, 10)}`,
    `Means of ${samples} ${samples === 1 ? 'run' : 'runs'} per arm${samples === 1 ? '' : ', with 95 % intervals'}`,
  ];
}
