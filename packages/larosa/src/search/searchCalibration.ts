import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Checkpoint, createPipeline, definePlugin, type Graph, LlmoptError, type Pipeline } from '@llmopt/core';
import { siteSizes } from '../budget/bytes.ts';
import { layerBudget } from '../budget/layers.ts';
import type { Calibration } from '../calibration/calibration.ts';
import { applyRotation } from '../rotation/apply.ts';
import { forgetBases } from '../rotation/basis.ts';
import { sparsifyGraph } from '../selection/sparsifyGraph.ts';
import { divergences, readDense } from './heldOut.ts';
import { type Found, searchBudgets } from './search.ts';
import type { SearchSettings } from './settings.ts';

export interface SearchModel {
  /** Stays open. */
  readonly checkpoint: Checkpoint;
  /** The dense model. */
  readonly pipeline: Pipeline;
  /** Weights of the rotated model are kept here for as long as it takes. */
  readonly cacheDir: string;
}

/**
 * Looks for the best budgets of a model on tokens that its calibration did not read, with its values rotated where they can be. Ends before its
 * time is over, and leaves nothing behind.
 * @throws LLMOPT_ABORTED, LLMOPT_SLOTS_EXHAUSTED, and what creating a pipeline throws
 */
export async function searchCalibration(
  { checkpoint, pipeline, cacheDir }: SearchModel,
  calibration: Calibration,
  tokens: readonly number[],
  { sparsities, seconds, candidates = Number.POSITIVE_INFINITY }: SearchSettings,
  { onProgress, signal }: { onProgress?: (fraction: number) => void; signal?: AbortSignal | undefined },
): Promise<Found[]> {
  const { graph } = pipeline;
  const { window } = calibration.settings;
  const started = performance.now();
  const elapsed = () => (performance.now() - started) / 1000;
  const dense = await readDense(pipeline, tokens, window, { signal });
  const values = canRotateValues(graph, calibration);
  const costs = await calibration.costs();
  let measured = 0;
  let longest = 0;
  const packed = await temporaryFolder(cacheDir);
  try {
    return await searchBudgets({
      sizes: siteSizes(graph),
      sparsities,
      layerBudget: (sparsity) => layerBudget(graph, costs, sparsity),
      goOn: () => measured < candidates && elapsed() + longest < seconds,
      async measure(kept) {
        const began = elapsed();
        await using sparse = await createPipeline({
          model: { ...checkpoint, close: async () => {} },
          plugins: [keeping(kept, calibration, values)],
          ...{ slots: 1, contextLength: window, cacheDir: packed ?? false },
          ...(signal && { signal }),
        });
        const rows = await divergences(sparse, dense, { signal });
        measured++;
        // The first one packs the weights, and others load what it packed.
        longest = measured === 1 ? 0 : Math.max(longest, elapsed() - began);
        onProgress?.(Math.min(1, Math.max(measured / candidates, elapsed() / seconds)));
        return rows;
      },
    });
  } finally {
    if (packed) await rm(packed, { recursive: true, force: true });
  }
}

function canRotateValues(graph: Graph, calibration: Calibration): boolean {
  try {
    applyRotation(graph, { rotation: 'none', values: true }, calibration);
    return true;
  } catch (error) {
    if (LlmoptError.isInstance(error) && error.code === 'LLMOPT_PLAN') return false;
    throw error;
  }
}

/** Each site keeps so many channels, in the order of `layerSites`. */
function keeping(kept: readonly number[], calibration: Calibration, values: boolean) {
  return definePlugin({
    name: 'larosa',
    version: '0.1',
    // Of these the weights depend on; what is kept does not change them.
    options: { calibration: calibration.checksum, values },
    fidelity: 'approximate',
    requires: ['channels'],
    graph(graph: Graph) {
      const keep = new Map(siteSizes(graph).map(({ layer, site }, i) => [`${layer} ${site}`, kept[i]!]));
      const { graph: rotated } = applyRotation(graph, { rotation: 'none', values }, calibration);
      return sparsifyGraph(rotated, (site, _width, { layer }) => keep.get(`${layer} ${site}`)!).rewritten;
    },
    ready: forgetBases,
  });
}

/** Without one, weights are packed anew each time. */
async function temporaryFolder(cacheDir: string): Promise<string | undefined> {
  try {
    await mkdir(cacheDir, { recursive: true });
    return await mkdtemp(path.join(cacheDir, 'larosa-search-'));
  } catch {
    return undefined;
  }
}
