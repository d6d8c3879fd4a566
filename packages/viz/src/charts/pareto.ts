import type { SweepPoint, SweepResult } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { type Along, logPanel, type Marked } from '../logPanel.ts';
import { armColor } from '../theme.ts';

const shapes = [
  'circle',
  'square',
  'triangle-up',
  'diamond',
  'cross',
  'triangle-down',
  'triangle-right',
  'triangle-left',
];
const megabyte = 1e6;

/** Bytes in MB of 10^6. */
const bytesOf = ({ weightBytesPerToken }: SweepPoint): Along => {
  const value = weightBytesPerToken / megabyte;
  return { value, low: value, high: value };
};

/**
 * Milliseconds per token. The machine drifts between two points, but not within a pair: so it is the baseline's median time over the speed-up of
 * the pairs.
 */
function timeOf({ points, baseline }: SweepResult): (point: SweepPoint) => Along | undefined {
  const dense = points.find(({ name }) => name === baseline)?.time?.timePerOutputTokenMs;
  return ({ name, time }) => {
    if (!dense || !time) return undefined;
    if (name === baseline) return { value: dense.median, low: dense.median, high: dense.median };
    if (!time.decodeSpeedup) return undefined;
    const { mean, ci95 } = time.decodeSpeedup;
    const [low, high] = ci95 ?? [mean, mean];
    return { value: dense.median / mean, low: dense.median / high, high: dense.median / low };
  };
}

const count = (value: number) => value.toLocaleString('en-US');

const positionsOf = ({ points }: SweepResult) =>
  Math.max(0, ...points.map(({ toFloat32 }) => toFloat32?.klDivergence.n ?? 0));

function markedPoints(result: SweepResult, along: (point: SweepPoint) => Along | undefined): Marked[] {
  const most = positionsOf(result);
  return result.points.flatMap((point): Marked[] => {
    const x = along(point);
    if (!x || !point.toFloat32) return [];
    const { mean, ci95, n } = point.toFloat32.klDivergence;
    const [low, high] = ci95 ?? [mean, mean];
    return [
      {
        // Another engine may be compared at fewer positions.
        name: n < most ? `${point.name}, ${count(n)} positions` : point.name,
        line: point.kind === 'larosa' ? point.method : undefined,
        side: point.kind === 'dense' ? 'below' : 'above',
        x,
        y: { value: mean, low, high },
      },
    ];
  });
}

function provenance(result: SweepResult): string[] {
  const { incomplete, model, settings, system, createdAt } = result;
  const { threads, precision } = settings;
  return [
    ...(incomplete ? ['INCOMPLETE: the sweep was interrupted; what is shown was measured before'] : []),
    `${model.name} (${model.quantization}) · wasm ${precision}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    `${system.cpu}, ${system.cores} cores · Node ${system.node} · ${createdAt.slice(0, 10)}`,
    `KL to the dense float32 model over ${count(positionsOf(result))} positions; whiskers are 95 % intervals`,
  ];
}

/** What a token costs, in bytes and in time, against what the model loses: down and to the left is better. */
export function pareto(result: SweepResult): TopLevelSpec {
  const methods = [...new Set(result.points.filter(({ kind }) => kind === 'larosa').map(({ method }) => method))];
  const scales = {
    methods,
    colors: methods.map((_, index) => armColor(index)),
    shapes: methods.map((_, index) => shapes[index % shapes.length] as string),
  };
  const bytes = logPanel({
    title: 'Divergence over weight bytes read per token',
    subtitle: 'a line per method; lower and further left is better',
    unit: { long: 'MB of weights per token, logarithmic', short: 'MB' },
    points: markedPoints(result, bytesOf),
    ...scales,
  });
  const time = logPanel({
    title: 'Divergence over time per token',
    subtitle: `each paired with ${result.baseline}, and shown as its median time over the paired speed-up`,
    unit: { long: 'ms per token, logarithmic', short: 'ms' },
    points: markedPoints(result, timeOf(result)),
    ...scales,
  });
  return {
    title: {
      text: 'What skipping weights costs, and what it saves',
      subtitle: provenance(result),
      fontSize: 18,
      subtitlePadding: 6,
      offset: 24,
    },
    vconcat: [bytes, time],
    spacing: 40,
    config: { axisY: { minExtent: 60 } },
  } as unknown as TopLevelSpec;
}
