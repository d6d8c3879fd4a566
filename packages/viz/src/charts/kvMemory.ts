import type { ServeResult, ServeRun } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { emptyPanel, type Panel } from '../panels.ts';
import { armColor } from '../theme.ts';
import { serveProvenance } from './provenance.ts';

const WIDTH = 640;
const HEIGHT = 200;
const MOST_POINTS = 400;
const megabyte = 1e6;

type Sample = ServeRun['memory']['samples'][number];

/** From the outermost to the innermost: the books, and what the system says of them. */
const curves: readonly {
  name: string;
  color: string;
  dash: number[];
  of: (sample: Sample) => number | undefined;
}[] = [
  { name: 'reserved', color: '#6B7280', dash: [2, 3], of: ({ reservedBytes }) => reservedBytes },
  {
    name: 'committed, by its books',
    color: armColor(4),
    dash: [6, 3],
    of: ({ committedBytes }) => committedBytes,
  },
  {
    name: 'resident, by the system',
    color: armColor(1),
    dash: [1, 0],
    of: ({ residentBytes }) => residentBytes,
  },
  { name: 'live tokens', color: armColor(0), dash: [1, 0], of: ({ liveBytes }) => liveBytes },
];

/** Every n-th sample, and the last one. */
function thinned<Item>(items: readonly Item[]): Item[] {
  const step = Math.ceil(items.length / MOST_POINTS);
  return items.filter((_, index) => index % step === 0 || index === items.length - 1);
}

function rowsOf({ memory }: ServeRun, hasResident: boolean) {
  return curves.flatMap(({ name, of }) =>
    thinned(memory.samples).flatMap((sample) => {
      const grown = Math.max(0, sample.processBytes - memory.processBytesBefore);
      const bytes = name.startsWith('resident') && !hasResident ? grown : of(sample);
      return bytes === undefined ? [] : [{ curve: name, seconds: sample.atMs / 1000, megabytes: bytes / megabyte }];
    }),
  );
}

/** What a reservation is beside the rest: where it is far above, it is cut off and said in words. */
const farAbove = 3;

function panel(run: ServeRun): Panel {
  const title = `${run.name}, ${run.concurrency} in flight`;
  const hasResident = run.memory.samples.some(({ residentBytes }) => residentBytes !== undefined);
  const rows = rowsOf(run, hasResident);
  if (rows.length === 0) return emptyPanel(title, 'not measured', WIDTH);
  const most = (of: (curve: string) => boolean) =>
    Math.max(0, ...rows.filter(({ curve }) => of(curve)).map(({ megabytes }) => megabytes));
  const reserved = most((curve) => curve === 'reserved');
  const others = most((curve) => curve !== 'reserved');
  const isCut = others > 0 && reserved > farAbove * others;
  const top = isCut ? others * 1.15 : Math.max(reserved, others) * 1.05;
  const held = run.mostHeld === undefined ? '' : `${run.mostHeld} sequences held at once, at most`;
  const notes = [
    held,
    isCut ? `reserved: ${Math.round(reserved).toLocaleString('en-US')} MB, above the chart` : '',
    hasResident ? '' : 'resident: growth of the whole process',
  ].filter((note) => note !== '');
  // The same for colours and dashes, so that they are one.
  const legend = { title: null, orient: 'bottom', columns: 4, labelLimit: 220, labelFontSize: 12, symbolSize: 200 };
  const scaled = (values: readonly unknown[]) => ({ domain: curves.map(({ name }) => name), range: values });
  return {
    title: { text: title, subtitle: notes.join(' · ') },
    width: WIDTH,
    height: HEIGHT,
    data: { values: isCut ? rows.filter(({ curve }) => curve !== 'reserved') : rows },
    mark: { type: 'line', interpolate: 'step-after', strokeWidth: 2 },
    encoding: {
      x: { field: 'seconds', type: 'quantitative', title: 'seconds', scale: { nice: false } },
      y: {
        field: 'megabytes',
        type: 'quantitative',
        title: 'MB of 10⁶ bytes',
        scale: { domain: [0, top || 1], nice: false },
        axis: { tickCount: 5 },
      },
      color: {
        field: 'curve',
        type: 'nominal',
        sort: null,
        scale: scaled(curves.map(({ color }) => color)),
        legend,
      },
      strokeDash: {
        field: 'curve',
        type: 'nominal',
        sort: null,
        scale: scaled(curves.map(({ dash }) => dash)),
        legend,
      },
    },
  };
}

/** Memory over time under each policy, with as many requests in flight as were tried at most. */
export function kvMemory(result: ServeResult): TopLevelSpec {
  const policies = result.runs.filter(({ kind }) => kind === 'policy');
  const most = new Map<string, ServeRun>();
  for (const run of policies) {
    const other = most.get(run.name);
    if (!other || run.concurrency > other.concurrency) most.set(run.name, run);
  }
  const panels = most.size > 0 ? Array.from(most.values(), panel) : [emptyPanel('Memory', 'not measured', WIDTH)];
  return {
    title: {
      text: 'Memory of keys and values',
      subtitle: serveProvenance(result),
      fontSize: 18,
      subtitlePadding: 6,
      offset: 24,
    },
    vconcat: panels,
    spacing: 36,
    config: { axisY: { minExtent: 60 } },
  } as unknown as TopLevelSpec;
}
