import { LlmoptError } from '@llmopt/core';
import type { ArmProcess } from '../arms/parent.ts';
import type { LoadReport, ProbeReport } from '../arms/protocol.ts';
import type { Divergences } from '../quality/divergences.ts';
import type { Reporter } from '../report/reporter.ts';
import { runTimed, type Sample } from '../runner.ts';
import type { Contestant } from './contestants.ts';
import type { BackendsSettings } from './options.ts';
import { type Plan, planFor, type Speed } from './plan.ts';

/** What was learnt of a backend. */
export interface BackendRecord {
  contestant: Contestant;
  /** Why it has no figures: it does not work here, or failed on the way. */
  failure?: unknown;
  /** What it wrote to the console while it was tried. */
  notes: string[];
  load?: LoadReport;
  plan?: Plan;
  samples: Sample[];
  /** From the reference; absent for the reference itself, and where the reference failed. */
  divergences?: Pick<Divergences, 'divergences' | 'agreements'>;
}

export interface MeasureOptions {
  settings: BackendsSettings;
  /** The text to compare on. */
  text: string;
  /** Path of a file for the reference's logits. */
  logitsFile: string;
  reporter: Reporter;
  signal?: AbortSignal | undefined;
  /** Makes sure that a backend works. @throws why it does not */
  probe(contestant: Contestant): Promise<ProbeReport>;
  /** A process with the model loaded. @throws why it cannot be */
  open(contestant: Contestant): Promise<{ arm: ArmProcess; report: LoadReport }>;
}

interface Running {
  arm: ArmProcess;
  record: BackendRecord & { plan: Plan };
}

interface Session extends MeasureOptions {
  /** Positions whose logits the reference has written down. */
  reference: { positions: number };
}

/** Tokens of the request that shows how fast a backend is. */
const pilot = { prompt: 0, promptTokens: 4, maxNewTokens: 3, ignoreEndToken: true };
/** A backend that answers within this time is asked once more, now that it is warm. */
const warmPilotMs = 2_000;

/** Ends everything when the user says so; anything else concerns one backend. */
function noteFailure(record: BackendRecord, error: unknown, { signal }: Session): void {
  if (signal?.aborted || (LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) throw error;
  record.failure = error;
}

async function speedOf(arm: ArmProcess): Promise<Speed> {
  const first = await arm.call('run', pilot);
  const { timings } = first.timings.totalMs > warmPilotMs ? first : await arm.call('run', pilot);
  return {
    prefillTokensPerSecond: timings.prefillTokensPerSecond,
    decodeTokensPerSecond: 1000 / timings.timePerOutputTokenMs,
  };
}

async function time(group: readonly Running[], { plan }: { plan: Plan }, session: Session): Promise<void> {
  const { settings, reporter } = session;
  const alone = !plan.interleaved;
  await runTimed(
    group.map(({ arm }) => arm),
    {
      prompts: alone ? 1 : settings.prompts.length,
      runs: settings.runs,
      // The pilot has warmed a slow one up.
      warmup: alone ? 0 : settings.warmup,
      ...(plan.promptTokens !== undefined && { promptTokens: plan.promptTokens }),
      maxNewTokens: plan.maxNewTokens,
      onSample: (index, sample) => group[index]?.record.samples.push(sample),
      onFailure: (index, error) => noteFailure((group[index] as Running).record, error, session),
      onProgress: reporter.progress,
    },
  );
}

async function compare({ arm, record }: Running, session: Session): Promise<void> {
  const { reporter, reference, text, logitsFile: file } = session;
  if (record.contestant.backend.name === 'reference' || record.failure !== undefined) return;
  const positions = Math.min(record.plan.positions, reference.positions);
  if (positions === 0) return;
  reporter.stage(`Logits of ${record.contestant.title}`);
  const onProgress = ({ fraction }: { fraction: number }) => reporter.progress(fraction);
  try {
    [record.divergences] = await arm.call('compareLogits', { text, positions, files: [file] }, { onProgress });
  } catch (error) {
    noteFailure(record, error, session);
  }
}

async function writeReference({ arm, record }: Running, session: Session): Promise<void> {
  const { reporter, reference, text, logitsFile: file } = session;
  reporter.stage(`Logits of ${record.contestant.title}`);
  const onProgress = ({ fraction }: { fraction: number }) => reporter.progress(fraction);
  const input = { text, positions: record.plan.positions, file };
  reference.positions = (await arm.call('writeLogits', input, { onProgress })).positions;
}

/** Tries, loads and plans; a slow one is measured to the end, a fast one comes back running. */
async function start(record: BackendRecord, session: Session): Promise<Running | undefined> {
  const { contestant } = record;
  const { settings, reporter } = session;
  reporter.stage(`Trying ${contestant.title}`);
  const { notes } = await session.probe(contestant);
  record.notes = notes;
  for (const note of notes) reporter.note(note);
  reporter.stage(`Loading ${contestant.title}`);
  const { arm, report } = await session.open(contestant);
  let keep = false;
  try {
    record.load = report;
    const { maxNewTokens, qualityTokens: positions, requestSeconds } = settings;
    const promptTokens = Math.max(...report.promptTokens.map(({ length }) => length));
    const plan = planFor(await speedOf(arm), { promptTokens, maxNewTokens, positions, requestSeconds });
    const running = { arm, record: Object.assign(record, { plan }) };
    if (contestant.backend.name === 'reference') await writeReference(running, session);
    keep = plan.interleaved;
    if (keep) return running;
    reporter.stage(`Timed runs of ${contestant.title}`);
    await time([running], running.record, session);
    await compare(running, session);
    return undefined;
  } finally {
    if (!keep) await arm.stop();
  }
}

/**
 * Measures every backend that works. The reference comes first, since the others are compared with it; slow ones run alone, one after the
 * other, and the fast ones in turns. What fails has a `failure`, and the others go on.
 * @throws LLMOPT_ABORTED
 */
export async function measureBackends(
  contestants: readonly Contestant[],
  options: MeasureOptions,
): Promise<BackendRecord[]> {
  const session: Session = { ...options, reference: { positions: 0 } };
  const records = contestants.map((contestant): BackendRecord => ({ contestant, notes: [], samples: [] }));
  const fast: Running[] = [];
  try {
    for (const record of records.toReversed()) {
      try {
        const running = await start(record, session);
        if (running) fast.unshift(running);
      } catch (error) {
        noteFailure(record, error, session);
      }
    }
    const [first] = fast;
    if (first) {
      options.reporter.stage('Timed runs');
      await time(fast, first.record, session);
    }
    for (const running of fast) await compare(running, session);
  } finally {
    await Promise.all(fast.map(({ arm }) => arm.stop()));
  }
  return records;
}
