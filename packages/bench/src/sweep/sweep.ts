import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import {
  buildGraph,
  type Checkpoint,
  type Graph,
  LlmoptError,
  openCheckpoint,
  resolveModel,
  tokenizerFrom,
} from '@llmopt/core';
import type { SweepResult } from '@llmopt/schema';
import type { BenchmarkControl } from '../benchmark.ts';
import { modelName } from '../modelName.ts';
import { readText } from '../options.ts';
import { findEngines, type PeerTarget } from '../peers/open.ts';
import { silentReporter } from '../report/reporter.ts';
import { systemFacts } from '../result.ts';
import { assertFileWritable, assertFolderWritable } from '../write.ts';
import { measurePoints } from './measure.ts';
import { resolveSweepOptions, type SweepOptions, type SweepSettings } from './options.ts';
import { type PlannedPoint, planPoints } from './plan.ts';
import { openReferences } from './references.ts';
import { openStore } from './store.ts';

/** A model's headers, which say all that a plan needs. */
interface Subject {
  file: string;
  format: Checkpoint['format'];
  graph: Graph;
  model: SweepResult['model'];
  checksum: string;
  /** Bytes of the weights that a token reads from the file, which another engine reads as they are. */
  fileBytesPerToken: number;
}

const checksumOf = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');

/** The matrices of the file; rows of an embedding that is not the head, too, are looked up one by one. */
function fileBytesPerToken({ tensors }: Checkpoint): number {
  const hasHead = tensors.has('output.weight');
  return Array.from(tensors.values())
    .filter(({ name, shape }) => shape.length > 1 && !(hasHead && name === 'token_embd.weight'))
    .reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** The type of most weights. */
function quantizationOf({ tensors }: Checkpoint): string {
  const elements = new Map<string, number>();
  for (const { type, shape } of tensors.values()) {
    elements.set(type, (elements.get(type) ?? 0) + shape.reduce((a, b) => a * b, 1));
  }
  return [...elements].reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['', 0] as [string, number])[0];
}

async function subjectOf(checkpoint: Checkpoint, file: string, { model }: SweepSettings): Promise<Subject> {
  const { format, architecture, parameters } = checkpoint;
  return {
    file,
    format,
    graph: buildGraph(checkpoint),
    model: {
      ...{ name: modelName(model), architecture, parameters },
      ...{ file: basename(file), quantization: quantizationOf(checkpoint) },
    },
    checksum: await checkpoint.checksum(),
    fileBytesPerToken: fileBytesPerToken(checkpoint),
  };
}

async function peerPoints(
  { file, format, model, fileBytesPerToken }: Subject,
  settings: SweepSettings,
): Promise<{ point: PlannedPoint; target: PeerTarget }[]> {
  if (settings.peers.length > 0 && format !== 'gguf') {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      'node-llama-cpp needs a GGUF file, and this model is something else.',
      {
        hint: 'Leave --peer out, or give a GGUF file.',
      },
    );
  }
  return (await findEngines(settings.peers)).map((engine) => {
    const name = `${engine.name} ${model.quantization}`;
    return {
      point: { name, kind: 'peer', method: name, weightBytesPerToken: fileBytesPerToken },
      target: { ...engine, engine: engine.name, name, file, quantization: model.quantization },
    };
  });
}

/** A calibration belongs to a point: another content makes another point. */
async function withCalibration(point: PlannedPoint): Promise<PlannedPoint> {
  const path = point.options?.calibration;
  if (typeof path !== 'string') return point;
  const content = await readFile(path).catch((cause: unknown) => {
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${path} cannot be read.`, { hint: 'Check the path.', cause });
  });
  return { ...point, calibrationChecksum: checksumOf(content) };
}

/**
 * Measures how much weight memory each method of LaRoSA reads per token, how long a token takes, and how far the model is then from the
 * dense one. Every point is written to `options.output` as soon as it is measured; a run with the same settings goes on from there.
 * Draws `pareto.png` into `options.plots`.
 * @throws LLMOPT_OPTION_INVALID, LLMOPT_FILE_NOT_FOUND, LLMOPT_WRITE_FAILED, LLMOPT_RESULT_INVALID, LLMOPT_BENCH_FAILED, LLMOPT_ABORTED,
 * and what larosa and loading a model throw
 */
export async function runSweep(options: SweepOptions = {}, control: BenchmarkControl = {}): Promise<SweepResult> {
  const { reporter = silentReporter, signal } = control;
  const settings = resolveSweepOptions(options);
  const text = await readText(settings.text);
  await assertFileWritable(settings.output);
  if (settings.plots !== false) await assertFolderWritable(settings.plots);
  try {
    reporter.stage('Finding the model');
    const onProgress = ({ stage, fraction }: { stage: string; fraction: number }) => reporter.progress(fraction, stage);
    const file = await resolveModel(settings.model, { onProgress, signal });
    const checkpoint = await openCheckpoint(file);
    let result: SweepResult;
    try {
      const subject = await subjectOf(checkpoint, file, settings);
      reporter.stage('Weight bytes of every point');
      const peers = await peerPoints(subject, settings);
      const own = await Promise.all((await planPoints(subject.graph, settings)).map(withCalibration));
      const planned = [...own, ...peers.map(({ point }) => point)];
      const store = await openStore(settings.output, freshResult(subject, settings, text), planned);
      const todo = planned.filter((point) => !store.has(point));
      if (todo.length < planned.length)
        reporter.note(`${planned.length - todo.length} of ${planned.length} points are measured.`);
      if (todo.length > 0) {
        // A token is at least a character.
        const positions = Math.min(settings.qualityTokens, text.length);
        const files = settings.precision === 'float32' ? 1 : 2;
        const logitsBytes = files * positions * subject.graph.config.vocabularySize * 4;
        await using references = await openReferences(settings.output, logitsBytes);
        const targets = new Map(peers.map(({ point, target }) => [point.name, target]));
        const reader = { tokenizer: await tokenizerFrom(checkpoint), graph: subject.graph };
        const measure = { settings, model: subject.file, text, reader, references, peers: targets, reporter, signal };
        await measurePoints(todo, measure, (point) => store.add(point));
      }
      ({ result } = store);
    } finally {
      await checkpoint.close();
    }
    reporter.note(`The result is in ${settings.output}.`);
    if (settings.plots !== false) {
      reporter.stage('Chart');
      const { renderSweep } = await import('@llmopt/viz');
      await renderSweep(result, settings.plots);
      reporter.note(`The chart is in ${settings.plots}.`);
    }
    return result;
  } catch (error) {
    if (!signal?.aborted || (LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) throw error;
    throw new LlmoptError('LLMOPT_ABORTED', 'The sweep was interrupted.', { cause: error });
  } finally {
    reporter.end();
  }
}

function freshResult({ model, checksum }: Subject, settings: SweepSettings, text: string): Omit<SweepResult, 'points'> {
  const { precision, threads, qualityTokens, prompts, maxNewTokens, runs, warmup, seed } = settings;
  return {
    kind: 'sweep',
    schemaVersion: 1,
    createdAt: new Date().toISOString(),
    system: systemFacts(),
    model,
    settings: {
      ...{ precision, threads, qualityTokens, prompts: prompts.length, maxNewTokens, runs, warmup, seed },
      modelChecksum: checksum,
      textChecksum: checksumOf(text),
      promptsChecksum: checksumOf(JSON.stringify(prompts)),
    },
    baseline: `dense ${precision}`,
  };
}
