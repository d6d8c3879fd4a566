import { type Latency, parseServeResult, type ServeResult, type ServeRun } from '@llmopt/schema';
import { twoArms } from './results.ts';

const megabyte = 1e6;
const quantile = (value: number) => ({ value, ci95: [value * 0.92, value * 1.1] as [number, number] });
const latency = (p50: number): Latency => ({
  ...{ p50: quantile(p50), p90: quantile(p50 * 2.1), p99: quantile(p50 * 6) },
  ...{ mean: p50 * 1.3, n: 500 },
});

/** Sequences that come, grow and go: MB of live tokens at a time from 0 to 1. */
const live = (time: number) => 40 + 30 * Math.sin(time * 9) + (time > 0.4 && time < 0.6 ? 60 : 0);

type Of = (time: number) => { committed: number; resident?: number };

function run(name: string, concurrency: number, of: Of, rest: Partial<ServeRun> = {}): ServeRun {
  const samples = Array.from({ length: 60 }, (_, index) => {
    const time = index / 59;
    const { committed, resident } = of(time);
    return {
      atMs: time * 30_000,
      reservedBytes: 755 * megabyte,
      committedBytes: committed * megabyte,
      liveBytes: (index === 59 ? 0 : live(time)) * megabyte,
      ...(resident !== undefined && { residentBytes: resident * megabyte }),
      processBytes: (250 + 2 * live(time)) * megabyte,
    };
  });
  return {
    ...{
      name,
      kind: 'policy',
      concurrency,
      slots: concurrency,
      loadSeconds: 1,
      wallSeconds: 30,
      mostHeld: concurrency,
    },
    throughput: { outputTokensPerSecond: 50, totalTokensPerSecond: 300, requestsPerSecond: 1 },
    timeToFirstTokenMs: latency(120 * concurrency),
    interTokenMs: latency(10 + concurrency),
    memory: { processBytesBefore: 250 * megabyte, samples },
    metrics: {},
    failures: {},
    requests: [],
    ...rest,
  };
}

/** Invented figures: four policies and another engine, with one and with eight requests in flight. */
export function serve(rest: Partial<ServeResult> = {}): ServeResult {
  const { system, model } = twoArms();
  const most = (time: number) => Math.max(...Array.from({ length: 60 }, (_, at) => live(Math.min(at / 59, time))));
  const policies: [name: string, of: Of][] = [
    ['fixed-zeroed', () => ({ committed: 755, resident: 755 })],
    ['fixed', (time) => ({ committed: most(time), resident: most(time) + 2 })],
    ['grow-copy', (time) => ({ committed: 2 * live(time) })],
    ['vattention', (time) => ({ committed: live(time) + 8, resident: live(time) + 9 })],
  ];
  return parseServeResult({
    kind: 'serve',
    schemaVersion: 1,
    createdAt: '2026-01-02T03:04:05.000Z',
    system,
    model,
    settings: {
      ...{
        contextLength: 4096,
        requests: 32,
        arrivals: 'closed',
        seed: 0,
        precision: 'int8',
        kv: 'float32',
        threads: 2,
      },
      kvBudgetBytes: 1e9,
    },
    runs: [1, 8].flatMap((concurrency) => [
      ...policies.map(([name, of]) => run(name, concurrency, of)),
      {
        ...run('node-llama-cpp Q8_0', concurrency, () => ({ committed: 0 }), { kind: 'peer' }),
        interTokenMs: latency(14 + 4 * concurrency),
        memory: { processBytesBefore: 1, samples: [{ atMs: 0, processBytes: 1 }] },
      },
    ]),
    ...rest,
  });
}
