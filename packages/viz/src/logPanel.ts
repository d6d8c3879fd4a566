import { formatNumber } from './figures.ts';
import { emptyPanel, type Panel } from './panels.ts';
import { ink } from './theme.ts';

/** A figure with the ends of its interval. */
export interface Along {
  value: number;
  low: number;
  high: number;
}

/** A point of a panel; one without a line stands alone, with its name beside it. */
export interface Marked {
  name: string;
  line: string | undefined;
  /** Where the name of a lone point stands: two whose divergences are alike keep clear of each other. */
  side: 'above' | 'below';
  x: Along;
  y: Along;
}

interface LogPanel {
  title: string;
  subtitle: string;
  /** Of the axis title, and beside a number. */
  unit: { long: string; short: string };
  points: readonly Marked[];
  methods: readonly string[];
  colors: readonly string[];
  shapes: readonly string[];
}

const WIDTH = 640;
const HEIGHT = 300;
/** What an axis ends with where there is no number at all. */
const smallest = 1e-4;

/** Round numbers of a logarithmic axis. */
function ticks(low: number, high: number, steps: readonly number[]): number[] {
  const from = Math.floor(Math.log10(low));
  const to = Math.ceil(Math.log10(high));
  return Array.from({ length: to - from + 1 }, (_, index) => 10 ** (from + index))
    .flatMap((power) => steps.map((step) => step * power))
    .filter((value) => value >= low && value <= high);
}

/** From the least to the greatest number above zero; from a tenth of the greatest where there is only one. */
function extent(values: readonly number[]): [low: number, high: number] {
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return [smallest / 10, smallest];
  const high = Math.max(...positive);
  return [Math.min(high / 1.2, ...positive), high];
}

/** Where the point of a panel is drawn, and what is written beside it. */
function rowsOf(points: readonly Marked[], [left, right]: [number, number], floor: number, unit: string) {
  return points.map(({ name, line, side, x, y }) => {
    const isBeyond = x.value > right;
    const said = [...(y.value === 0 ? ['KL 0'] : []), ...(isBeyond ? [`at ${formatNumber(x.value)} ${unit} →`] : [])];
    const inside = (value: number) => Math.min(value, right);
    const above = (value: number) => Math.max(value, floor);
    return {
      name: said.length > 0 ? `${name} (${said.join(', ')})` : name,
      line,
      x: inside(x.value),
      xLow: inside(x.low),
      xHigh: inside(x.high),
      y: above(y.value),
      yLow: above(y.low),
      yHigh: above(y.high),
      // The lower edge has nothing below it.
      dy: side === 'below' && y.value > 0 ? 14 : -10,
      // To the side where there is room.
      align: Math.log(inside(x.value) / left) > Math.log(right / left) / 2 ? 'right' : 'left',
    };
  });
}

/**
 * Divergence over something, both logarithmic. A divergence of 0 lies on the lower edge, and what is far to the right of all lines lies on the
 * right one; their labels say so.
 */
export function logPanel({ title, subtitle, unit, points, methods, colors, shapes }: LogPanel): Panel {
  if (points.length === 0) return emptyPanel(title, 'not measured', WIDTH);
  const [least, most] = extent(points.flatMap(({ y }) => [y.value, y.high]));
  const [floor, top] = [least / 4, most * 1.6];
  const near = points.filter(({ y }) => y.value !== 0);
  const [nearest, farthest] = extent((near.length > 0 ? near : points).flatMap(({ x }) => [x.low, x.high]));
  const [left, right] = [nearest / 1.1, farthest * 1.25];
  const axis = {
    title: unit.long,
    axis: { values: ticks(left, right, [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8]), format: '~g' },
  };
  const x = (field: string) => ({
    field,
    type: 'quantitative',
    scale: { type: 'log', domain: [left, right], nice: false },
    ...axis,
  });
  const y = (field: string) => ({
    field,
    type: 'quantitative',
    title: 'mean KL, nats per token, logarithmic',
    scale: { type: 'log', domain: [floor, top], nice: false },
    axis: { values: ticks(floor, top, [1, 3]), format: '~g' },
  });
  const rows = rowsOf(points, [left, right], floor, unit.short);
  const alone = rows.filter(({ line }) => line === undefined);
  const named = [
    { align: 'left', dx: 8 },
    { align: 'right', dx: -8 },
  ].flatMap(({ align, dx }) =>
    [14, -10].map(
      (dy): Panel => ({
        data: { values: alone.filter((row) => row.align === align && row.dy === dy) },
        mark: { type: 'text', align, dx, dy, fontSize: 12, color: ink },
        encoding: { x: x('x'), y: y('y'), text: { field: 'name' } },
      }),
    ),
  );
  const scaled = (range: readonly string[]) => ({
    field: 'line',
    type: 'nominal',
    sort: null,
    scale: { domain: methods, range },
    legend: { title: null, orient: 'bottom', columns: 2, labelLimit: 500, labelFontSize: 12, symbolSize: 80 },
  });
  const whiskers = (more: object, mark: object = {}): Panel[] => [
    {
      mark: { type: 'rule', strokeWidth: 1.5, ...mark },
      encoding: { x: x('x'), y: y('yLow'), y2: { field: 'yHigh' }, ...more },
    },
    {
      mark: { type: 'rule', strokeWidth: 1.5, ...mark },
      encoding: { x: x('xLow'), x2: { field: 'xHigh' }, y: y('y'), ...more },
    },
  ];
  return {
    title: { text: title, subtitle },
    width: WIDTH,
    height: HEIGHT,
    layer: [
      {
        data: { values: rows.filter(({ line }) => line !== undefined) },
        layer: [
          ...whiskers({ color: scaled(colors) }),
          {
            mark: { type: 'line', strokeWidth: 1.5 },
            encoding: { x: x('x'), y: y('y'), order: { field: 'y' }, color: scaled(colors) },
          },
          {
            mark: { type: 'point', filled: true, size: 70, opacity: 1 },
            encoding: { x: x('x'), y: y('y'), color: scaled(colors), shape: scaled(shapes) },
          },
        ],
      },
      {
        data: { values: alone },
        layer: [
          ...whiskers({}, { color: ink }),
          {
            mark: { type: 'point', filled: true, size: 110, opacity: 1, shape: 'diamond', color: ink },
            encoding: { x: x('x'), y: y('y') },
          },
        ],
      },
      ...named,
    ],
  };
}
