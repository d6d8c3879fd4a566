import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  buildGraph,
  defaultCacheFolder,
  type Graph,
  openCheckpoint,
  type Progress,
  resolveModel,
  tokenizerFrom,
} from '@llmopt/core';
import { modelName } from '../modelName.ts';
import { bundledQualityText } from '../options.ts';
import { createRandom } from '../statistics/random.ts';
import type { KernelsSettings } from './options.ts';
import { randomGraph, shapes } from './shapes.ts';

/** The model that is measured. */
export interface Subject {
  name: string;
  graph: Graph;
  /** As for `compile`. */
  modelKey: string;
  cacheDir: string | undefined;
  /** Text to read, at least as many tokens as asked for. */
  tokens: readonly number[];
  close(): Promise<void>;
}

export interface SubjectControl {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal | undefined;
}

/** Opens the checkpoint, or makes the random model; weights are read when compiled. @throws what finding and reading a model throws */
export async function openSubject(
  subject: KernelsSettings['subject'],
  tokenCount: number,
  { onProgress, signal }: SubjectControl = {},
): Promise<Subject> {
  if ('shape' in subject) {
    const shape = shapes[subject.shape];
    const random = createRandom(1);
    return {
      name: `random weights of shape ${subject.shape}`,
      graph: randomGraph(shape),
      modelKey: subject.shape,
      cacheDir: undefined,
      tokens: Array.from({ length: tokenCount }, () => Math.floor(random() * shape.vocabulary)),
      close: async () => {},
    };
  }
  const { model } = subject;
  const checkpoint = await openCheckpoint(await resolveModel(model, { onProgress, signal }));
  try {
    const graph = buildGraph(checkpoint);
    const text = (await tokenizerFrom(checkpoint)).encode(await readFile(bundledQualityText, 'utf8'));
    return {
      name: modelName(model),
      graph,
      modelKey: await checkpoint.checksum(),
      cacheDir: path.join(defaultCacheFolder(), 'packed'),
      tokens: Array.from({ length: tokenCount }, (_, index) => text[index % text.length] as number),
      close: () => checkpoint.close(),
    };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
