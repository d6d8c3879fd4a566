import type { Config } from 'vega-lite';

// Okabe and Ito's colours, which people with any kind of colour blindness can tell apart.
const armColors = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9'];

export const verdictColors = { better: '#009E73', worse: '#D55E00', none: '#6B7280' } as const;

export const ink = '#1F2937';
export const faint = '#6B7280';

/** The colour of an arm by its place in the result; the baseline is blue, the optimised one vermilion. */
export const armColor = (index: number): string => armColors[index % armColors.length]!;

export const config: Config = {
  background: '#FFFFFF',
  font: 'Inter, sans-serif',
  padding: 20,
  view: { stroke: null },
  axis: {
    labelColor: ink,
    titleColor: faint,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    gridColor: '#E5E7EB',
    domainColor: '#9CA3AF',
    tickColor: '#9CA3AF',
    titlePadding: 8,
    labelPadding: 6,
  },
  title: {
    color: ink,
    fontSize: 14,
    fontWeight: 600,
    subtitleColor: faint,
    subtitleFontSize: 12,
    subtitlePadding: 4,
    anchor: 'start',
    frame: 'group',
    offset: 12,
  },
  concat: { spacing: 36 },
};
