import { type Point, shortLabel } from './figures.ts';
import { faint, ink } from './theme.ts';

/** A Vega-Lite unit or layer spec; the library's own types of these are not exported. */
export type Panel = Readonly<Record<string, unknown>>;

interface BarPanel {
  title: string;
  /** What is better, or how it was measured. */
  subtitle: string;
  /** Axis title, with the unit. */
  unit: string;
  points: readonly Point[];
  width?: number;
}

const ROW = 34;

/** A horizontal bar per arm from zero, with its interval as a whisker and its mean as text. */
export function barPanel({ title, subtitle, unit, points, width = 290 }: BarPanel): Panel {
  if (points.length === 0) return emptyPanel(title, 'not measured', width);
  const end = Math.max(...points.map(({ value, high }) => Math.max(value, high)), Number.MIN_VALUE);
  const x = (field: string) => ({
    field,
    type: 'quantitative' as const,
    title: unit,
    scale: { domain: [0, end * 1.3], nice: false },
    axis: { tickCount: 5 },
  });
  const y = {
    field: 'arm',
    type: 'nominal' as const,
    title: null,
    sort: null,
    axis: { ticks: false, domain: false, labelLimit: 260, labelExpr: shortLabel },
  };
  return {
    title: { text: title, subtitle },
    width,
    height: ROW * points.length,
    data: { values: [...points] },
    layer: [
      {
        mark: { type: 'bar', height: 18 },
        encoding: { x: x('value'), y, color: { field: 'color', type: 'nominal', scale: null } },
      },
      ...whiskers(x('low'), y),
      {
        mark: { type: 'text', align: 'left', baseline: 'middle', dx: 8, fontSize: 12, color: ink },
        encoding: { x: x('high'), y, text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
}

/** Rule and ends of an interval, where there is one. */
function whiskers(low: object, y: object): Panel[] {
  const transform = [{ filter: 'datum.high > datum.low' }];
  const end = (field: string): Panel => ({
    transform,
    mark: { type: 'tick', color: ink, thickness: 1.5, size: 9, orient: 'vertical' },
    encoding: { x: { ...low, field }, y: y },
  });
  return [
    {
      transform,
      mark: { type: 'rule', color: ink, strokeWidth: 1.5 },
      encoding: { x: low, x2: { field: 'high' }, y: y },
    },
    end('low'),
    end('high'),
  ];
}

export interface GainRow {
  name: string;
  value: number;
  low: number;
  high: number;
  label: string;
  color: string;
}

interface GainPanel {
  title: string;
  subtitle: string;
  unit: string;
  /** Where nothing has changed. */
  neutral: number;
  rows: readonly GainRow[];
  width?: number;
}

/** A dot with its interval per row, against a line at no change. */
export function gainPanel({ title, subtitle, unit, neutral, rows, width = 420 }: GainPanel): Panel {
  if (rows.length === 0) return emptyPanel(title, 'not measured', width);
  const from = Math.min(neutral, ...rows.map(({ low }) => low));
  const to = Math.max(neutral, ...rows.map(({ high }) => high));
  const room = Math.max(to - from, Math.abs(neutral) * 0.05, 1e-9);
  // The words stand to the right of the longest interval.
  const domain = [from - room * 0.1, to + room * 1.1];
  const x = (field: string) => ({
    field,
    type: 'quantitative' as const,
    title: unit,
    scale: { domain, nice: false, zero: false },
    axis: { tickCount: 5 },
  });
  const y = {
    field: 'name',
    type: 'nominal' as const,
    title: null,
    sort: rows.map(({ name }) => name),
    axis: { ticks: false, domain: false, labelLimit: 260 },
  };
  const color = { field: 'color', type: 'nominal' as const, scale: null };
  return {
    title: { text: title, subtitle },
    width,
    height: ROW * rows.length,
    // A label begins behind the line where its interval ends in front of it.
    data: { values: rows.map((row) => ({ ...row, labelAt: Math.max(row.high, neutral) })) },
    layer: [
      {
        mark: { type: 'rule', color: faint, strokeDash: [4, 3] },
        encoding: { x: { datum: neutral, type: 'quantitative', scale: { domain, nice: false, zero: false } } },
      },
      ...whiskers(x('low'), y),
      { mark: { type: 'point', filled: true, size: 80, opacity: 1 }, encoding: { x: x('value'), y, color } },
      {
        mark: { type: 'text', align: 'left', baseline: 'middle', dx: 10, fontSize: 12 },
        encoding: { x: x('labelAt'), y, text: { field: 'label', type: 'nominal' }, color },
      },
    ],
  };
}

export function emptyPanel(title: string, reason: string, width: number): Panel {
  return {
    title: { text: title, subtitle: reason },
    width,
    height: 1,
    data: { values: [{ none: '' }] },
    mark: { type: 'text', text: '' },
    // An axis without marks takes the room that the others' take.
    encoding: {
      y: { field: 'none', type: 'nominal', title: null, axis: { labels: false, ticks: false, domain: false } },
    },
  };
}
