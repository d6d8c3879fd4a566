import { type ForwardResult, type Graph, LlmoptError, type Pipeline, seededRandom } from '@llmopt/core';
import { addRows, createMoments, type Moments, symmetric } from '../linearAlgebra/moments.ts';
import { type LayerSite, layerSites } from '../sites.ts';
import { type ArtefactTensor, artefactShapes } from './artefact.ts';
import { type CalibrationSettings, tensorNames } from './calibration.ts';

// Rows per forward: enough for the kernels, and few enough for the values that come back.
const ROWS = 64;

/** Feeds tokens to a model, window by window, and adds up what its activations look like. @throws LLMOPT_ABORTED, LLMOPT_SLOTS_EXHAUSTED */
export async function collect(
  pipeline: Pick<Pipeline, 'forward' | 'acquireSlot' | 'releaseSlot' | 'graph'>,
  tokens: readonly number[],
  { window, samples, seed }: CalibrationSettings,
  { onProgress, signal }: { onProgress?: (fraction: number) => void; signal?: AbortSignal | undefined },
): Promise<ReadonlyMap<string, ArtefactTensor>> {
  const sums = createSums(pipeline.graph, samples);
  const sampled = sampledRows(tokens.length, samples, seed);
  for (let start = 0; start < tokens.length; start += window) {
    const end = Math.min(start + window, tokens.length);
    const slot = pipeline.acquireSlot();
    if (slot === undefined) throw new LlmoptError('LLMOPT_SLOTS_EXHAUSTED', 'Calibration found every slot taken.');
    try {
      for (let at = start; at < end; at += ROWS) {
        signal?.throwIfAborted();
        const rows = Array.from({ length: Math.min(ROWS, end - at) }, (_, row) => row);
        const kept = rows.filter((row) => sampled.has(at + row));
        const { values } = await pipeline.forward({
          tokens: rows.map((row) => tokens[at + row]!),
          slots: rows.map(() => slot),
          positions: rows.map((row) => at - start + row),
          logits: [],
          values: sums.sites.map((site) => ({ name: sourceOf(site), rows: needsAll(site) ? rows : kept })),
        });
        sums.add(values, kept);
        onProgress?.((at + rows.length) / tokens.length);
      }
    } finally {
      pipeline.releaseSlot(slot);
    }
  }
  return sums.tensors();
}

/** Positions of the text whose activations are kept. */
function sampledRows(tokens: number, samples: number, seed: number): ReadonlySet<number> {
  const random = seededRandom(seed);
  const rows = new Set<number>();
  while (rows.size < samples) rows.add(Math.floor(random() * tokens));
  return rows;
}

/** The value that a site's statistics are taken from: behind an RMS norm what it reads, so that no gain is divided by. */
const sourceOf = ({ norm, input }: LayerSite) => norm?.inputs.input ?? input;

/** Whether all rows are added up, or only some are kept. */
const needsAll = ({ norm, attention }: LayerSite) => norm !== undefined || attention !== undefined;

function createSums(graph: Graph, samples: number) {
  const { kvHeads, headDim, heads } = graph.config;
  const sites = layerSites(graph);
  const shapes = artefactShapes(graph, { samples });
  const moments = new Map<string, Moments[]>();
  const momentsOf = (name: string, count: number, width: number): Moments[] => {
    const known = moments.get(name) ?? Array.from({ length: count }, () => createMoments(width));
    moments.set(name, known);
    return known;
  };
  const activations = new Map(
    sites.map(({ layer, site, width }) => [tensorNames.activations(layer, site), new Float32Array(samples * width)]),
  );
  const residualRms = new Map(
    sites.flatMap(({ layer, site, norm }) =>
      norm ? [[tensorNames.residualRms(layer, site), new Float32Array(samples)] as const] : [],
    ),
  );
  let filled = 0;

  return {
    sites,
    add(values: ForwardResult['values'], kept: readonly number[]): void {
      for (const one of sites) {
        const { layer, site, width, norm, attention } = one;
        const value = values[sourceOf(one)]!;
        const x = norm ? normalized(value, width, norm.epsilon) : value;
        if (norm) addRows(momentsOf(tensorNames.moments(layer), 1, width)[0]!, x);
        if (attention) {
          const ofHeads = momentsOf(tensorNames.headMoments(layer), kvHeads, headDim);
          for (let head = 0; head < heads; head++) {
            addRows(ofHeads[Math.floor(head / (heads / kvHeads))]!, columnsOf(value, width, head * headDim, headDim));
          }
        }
        const target = activations.get(tensorNames.activations(layer, site))!;
        kept.forEach((row, i) => {
          // Of a value of which only these rows are there, the number of a row is its place among them.
          const from = needsAll(one) ? row : i;
          target.set(x.subarray(from * width, (from + 1) * width), (filled + i) * width);
          if (norm) {
            const row = value.subarray(from * width, (from + 1) * width);
            residualRms.get(tensorNames.residualRms(layer, site))![filled + i] = rms(row, norm.epsilon);
          }
        });
      }
      filled += kept.length;
    },
    tensors(): ReadonlyMap<string, ArtefactTensor> {
      const tensors = new Map<string, ArtefactTensor>();
      for (const [name, data] of activations) tensors.set(name, { shape: shapes.get(name)!, type: 'BF16', data });
      for (const [name, data] of residualRms) tensors.set(name, { shape: [samples], type: 'F32', data });
      for (const [name, parts] of moments) {
        const means = parts.map(({ sums, rows }) => sums.map((sum) => sum / rows));
        const whole = name.endsWith('headMoments') ? means.map((mean) => symmetric(mean, headDim)) : means;
        const data = new Float32Array(whole.reduce((sum, { length }) => sum + length, 0));
        for (const [i, part] of whole.entries()) data.set(part, i * part.length);
        tensors.set(name, { shape: shapes.get(name)!, type: 'F32', data });
      }
      return tensors;
    },
  };
}

function rms(row: Float32Array | Float64Array, epsilon: number): number {
  let sum = 0;
  for (const number of row) sum += number * number;
  return Math.sqrt(sum / row.length + epsilon);
}

/** x / sqrt(mean(x²) + epsilon) of each row, in float64. */
function normalized(x: Float32Array, width: number, epsilon: number): Float64Array {
  const out = Float64Array.from(x);
  for (let at = 0; at < x.length; at += width) {
    const row = out.subarray(at, at + width);
    const divisor = rms(row, epsilon);
    for (let i = 0; i < width; i++) row[i]! /= divisor;
  }
  return out;
}

function columnsOf(x: Float32Array, width: number, first: number, count: number): Float64Array {
  const out = new Float64Array((x.length / width) * count);
  for (let at = 0, to = 0; at < x.length; at += width, to += count) {
    out.set(x.subarray(at + first, at + first + count), to);
  }
  return out;
}
