import type { Latency, ServeResult, ServeRun } from '@llmopt/schema';
import Table from 'cli-table3';
import { formatFigure, formatNumber } from './format.ts';
import { systemLine } from './resultTable.ts';

const megabytes = (bytes: number) => formatNumber(bytes / 1e6);

/** `12.1 (11.8 to 12.6)`, or the value alone where there is no interval. */
const quantile = (latency: Latency | undefined, which: 'p50' | 'p99') => {
  if (!latency) return '';
  const { value, ci95 } = latency[which];
  return formatFigure({ mean: value, median: value, ci95, n: latency.n });
};

/** The sample with the most of something. */
function mostOf({ memory }: ServeRun, of: (sample: ServeRun['memory']['samples'][number]) => number | undefined) {
  const values = memory.samples.map(of).filter((value) => value !== undefined);
  return values.length > 0 ? Math.max(...values) : undefined;
}

function memoryOf(run: ServeRun): string {
  const resident = mostOf(run, ({ residentBytes }) => residentBytes);
  if (resident !== undefined) return megabytes(resident);
  const grown = (mostOf(run, ({ processBytes }) => processBytes) ?? 0) - run.memory.processBytesBefore;
  return `${megabytes(Math.max(0, grown))}*`;
}

/** A figure that vattention reports, or its scheduler. */
function metric({ metrics }: ServeRun, name: string): string {
  const found = Object.entries(metrics).filter(([key]) => key.split('.').at(-1) === name);
  return found.length > 0 ? formatNumber(Math.max(...found.map(([, value]) => value))) : '';
}

function row(run: ServeRun): string[] {
  const { throughput, failures } = run;
  return [
    run.name,
    String(run.concurrency),
    run.mostHeld === undefined ? '' : String(run.mostHeld),
    formatNumber(throughput.outputTokensPerSecond),
    formatFigure(throughput.decodeTokensPerSecond),
    quantile(run.timeToFirstTokenMs, 'p50'),
    quantile(run.timeToFirstTokenMs, 'p99'),
    quantile(run.interTokenMs, 'p50'),
    quantile(run.interTokenMs, 'p99'),
    megabytes(mostOf(run, ({ liveBytes }) => liveBytes) ?? Number.NaN),
    memoryOf(run),
    metric(run, 'preemptions'),
    metric(run, 'reuses'),
    Object.values(failures)
      .reduce((sum, count) => sum + count, 0)
      .toString(),
  ];
}

/** A replay as text: a row per policy and number of requests in flight. */
export function serveReport(result: ServeResult): string {
  const { model, settings, system, runs } = result;
  const table = new Table({
    head: [
      '',
      'in flight',
      'held',
      'output tokens/s',
      'while all decode',
      'first token, ms: p50',
      'p99',
      'between tokens, ms: p50',
      'p99',
      'live MB',
      'resident MB',
      'preempted',
      'reused',
      'failed',
    ],
    colAligns: ['left', ...Array<'right'>(13).fill('right')],
    style: { head: [], border: [], compact: true },
  });
  for (const run of runs) table.push(row(run));
  const threads = `${settings.threads} ${settings.threads === 1 ? 'thread' : 'threads'}`;
  const budget =
    settings.kvBudgetBytes === undefined ? '' : `, at most ${megabytes(settings.kvBudgetBytes)} MB of them`;
  const failures = runs.flatMap(({ name, concurrency, failures }) =>
    Object.entries(failures).map(([code, count]) => `${name}, ${concurrency} in flight: ${count} failed with ${code}`),
  );
  return [
    `${model.name} (${formatNumber(model.parameters / 1e6)} M parameters, ${model.quantization}), wasm ${settings.precision}, ${threads}\n` +
      `${settings.requests} requests, ${settings.arrivals}; slots of ${settings.contextLength} tokens, keys and values ${settings.kv}${budget}\n` +
      systemLine(system),
    table.toString(),
    'Live and resident are the most at once; held is the most sequences with keys and values at once. * growth of the whole process.',
    ...failures,
  ].join('\n\n');
}
