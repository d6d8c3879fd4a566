import type { Latency, ServeResult, ServeRun } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { formatNumber } from '../figures.ts';
import { emptyPanel, type Panel } from '../panels.ts';
import { armColor, ink } from '../theme.ts';
import { serveProvenance } from './provenance.ts';

const WIDTH = 560;
const ROW = 22;
const percentiles = ['p50', 'p90', 'p99'] as const;
const colors = [armColor(5), armColor(0), armColor(1)];

const rowName = ({ name, concurrency }: ServeRun) => `${name}, ${concurrency}`;

function panel(
  title: string,
  subtitle: string,
  runs: readonly ServeRun[],
  of: (run: ServeRun) => Latency | undefined,
): Panel {
  const rows = runs.flatMap((run) => {
    const latency = of(run);
    if (!latency) return [];
    return percentiles.map((percentile) => {
      const { value, ci95 } = latency[percentile];
      const [low, high] = ci95 ?? [value, value];
      return { run: rowName(run), percentile, value, low, high, label: formatNumber(value) };
    });
  });
  if (rows.length === 0) return emptyPanel(title, 'not measured', WIDTH);
  const smallest = Math.min(...rows.map(({ low, value }) => Math.max(Math.min(low, value), 0.01)));
  const largest = Math.max(...rows.map(({ high, value }) => Math.max(high, value)));
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    title: 'ms, logarithmic',
    scale: { type: 'log', domain: [smallest / 1.3, largest * 1.6], nice: false },
    axis: { format: '~s', tickCount: 6 },
  });
  const y = {
    field: 'run',
    type: 'nominal',
    title: null,
    sort: null,
    axis: { ticks: false, domain: false, labelLimit: 260 },
  };
  const yOffset = { field: 'percentile', type: 'nominal', sort: percentiles };
  const color = {
    field: 'percentile',
    type: 'nominal',
    sort: null,
    scale: { domain: percentiles, range: colors },
    legend: { title: null, orient: 'bottom', labelFontSize: 12, symbolSize: 90 },
  };
  return {
    title: { text: title, subtitle },
    width: WIDTH,
    height: { step: ROW },
    data: { values: rows },
    layer: [
      {
        transform: [{ filter: 'datum.high > datum.low' }],
        mark: { type: 'rule', strokeWidth: 1.5 },
        encoding: { x: x('low'), x2: { field: 'high' }, y, yOffset, color },
      },
      {
        mark: { type: 'point', filled: true, size: 70, opacity: 1 },
        encoding: { x: x('value'), y, yOffset, color },
      },
      {
        mark: { type: 'text', align: 'left', baseline: 'middle', dx: 8, fontSize: 11, color: ink },
        encoding: { x: x('high'), y, yOffset, text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
}

/** How long a request waits for its first token, and then between two tokens, per policy and number of requests in flight. */
export function latency(result: ServeResult): TopLevelSpec {
  const names = [...new Set(result.runs.map(({ name }) => name))];
  const runs = names.flatMap((name) => result.runs.filter((run) => run.name === name));
  return {
    title: {
      text: 'Latency',
      subtitle: [
        ...serveProvenance(result),
        'A row per policy and number of requests in flight; whiskers are 95 % intervals',
      ],
      fontSize: 18,
      subtitlePadding: 6,
      offset: 24,
    },
    vconcat: [
      panel('Time to first token', 'from when the request was due', runs, (run) => run.timeToFirstTokenMs),
      panel('Between two tokens', 'of a request', runs, (run) => run.interTokenMs),
    ],
    spacing: 36,
  } as unknown as TopLevelSpec;
}
