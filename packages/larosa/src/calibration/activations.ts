import type { Graph } from '@llmopt/core';
import type { Site } from '../budget/coefficients.ts';
import { product } from '../linearAlgebra/product.ts';
import type { Basis } from '../rotation/basis.ts';
import { layerSites } from '../sites.ts';
import type { Calibration } from './calibration.ts';

/** The rotations of a graph. */
export interface Bases {
  readonly residual?: ((layer: number) => Basis) | undefined;
  readonly values?: ((layer: number, kvHead: number) => Basis) | undefined;
}

/** Rows `[samples, width]` of the input of a site, as the projections of the rotated graph see them. */
export type Activations = (layer: number, site: Site) => Promise<Float32Array>;

/** `graph`: the model before it was rotated. */
export function activationsIn(calibration: Calibration, graph: Graph, { residual, values }: Bases): Activations {
  const sites = layerSites(graph);
  return async (layer, site) => {
    const { norm, attention, width } = sites.find((one) => one.layer === layer && one.site === site)!;
    const rows = (await calibration.activations(layer, site))!;
    if (norm && residual) return Float32Array.from(product(rows, await residual(layer).matrix(), width));
    if (norm) {
      const gain = await graph.params.get(norm.params.gain)!.read();
      return rows.map((x, i) => x * gain[i % width]!);
    }
    if (!attention || !values) return rows;
    const { heads, kvHeads, headDim } = attention;
    const out = new Float32Array(rows.length);
    for (let head = 0; head < heads; head++) {
      const matrix = await values(layer, Math.floor(head / (heads / kvHeads))).matrix();
      for (let at = head * headDim; at < rows.length; at += width) {
        out.set(product(rows.subarray(at, at + headDim), matrix, headDim), at);
      }
    }
    return out;
  };
}
