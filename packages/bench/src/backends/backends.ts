import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LlmoptError, resolveModel } from '@llmopt/core';
import { loadArm } from '../arms/load.ts';
import type { BenchmarkControl } from '../benchmark.ts';
import { readText } from '../options.ts';
import { silentReporter } from '../report/reporter.ts';
import { assertFileWritable, writeJson } from '../write.ts';
import { armOf, contestantsOf } from './contestants.ts';
import { type BackendsResult, backendsResult } from './figures.ts';
import { measureBackends } from './measure.ts';
import { type BackendsOptions, resolveBackendsOptions } from './options.ts';
import { tryBackend } from './probe.ts';

/**
 * Runs one model on every backend that works here, each in a process of its own: speed, time to first token, memory, and how far its logits
 * are from the reference's. A backend that does not work has a row that says why. Writes the result to `options.output` and returns it; an
 * interrupted run writes nothing.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED, what finding the model throws, and if no
 * backend works, what the reference throws
 */
export async function runBackends(
  options: BackendsOptions = {},
  { reporter = silentReporter, signal }: BenchmarkControl = {},
): Promise<BackendsResult> {
  const settings = resolveBackendsOptions(options);
  const text = await readText(settings.quality);
  await assertFileWritable(settings.output);
  const createdAt = new Date();
  const folder = await mkdtemp(join(tmpdir(), 'llmopt-backends-'));
  try {
    reporter.stage('Finding the model');
    const model = await resolveModel(settings.model, {
      onProgress: ({ stage, fraction }) => reporter.progress(fraction, stage),
      signal,
    });
    const records = await measureBackends(contestantsOf(settings), {
      settings,
      text,
      logitsFile: join(folder, 'logits.f32'),
      reporter,
      signal,
      probe: ({ backend }) => tryBackend(backend, signal),
      open: (contestant) => loadArm(armOf(contestant, settings, model), { ...settings, reporter, signal }),
    });
    const result = backendsResult(records, settings, createdAt);
    await writeJson(settings.output, result);
    reporter.note(`The result is in ${settings.output}.`);
    return result;
  } catch (error) {
    if (!signal?.aborted || (LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) throw error;
    throw new LlmoptError('LLMOPT_ABORTED', 'The measurement was interrupted.', { cause: error });
  } finally {
    reporter.end();
    await rm(folder, { recursive: true, force: true });
  }
}
