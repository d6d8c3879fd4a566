import {
  type CustomOp,
  type Graph,
  type LinearOp,
  mapOps,
  type Param,
  type ReferenceContext,
  withParams,
} from '@llmopt/core';
import type { Activations } from '../calibration/activations.ts';
import { product } from '../linearAlgebra/product.ts';
import { type LayerSite, layerSites } from '../sites.ts';

/**
 * Gives every projection whose input is made sparse a bias: what the channels that are dropped add on average, weight · E[x − kept(x)].
 * `graph`: with its ops that choose channels; `activations`: of the same graph; `key`: names all that they depend on.
 */
export function compensate(graph: Graph, activations: Activations, key: string): Graph {
  const params = new Map<string, Param>();
  const changed = new Map<LinearOp, LinearOp>();
  for (const site of layerSites(graph)) {
    const { channels } = site.linears[0]!.inputs;
    const select = graph.ops.find((op) => Object.values<string>(op.outputs).includes(channels ?? ''));
    if (select?.kind !== 'larosa.sparsify') continue;
    const selectKey = [select.attributes, Object.values(select.params).map((name) => graph.params.get(name)!.key)];
    let mean: Promise<Float64Array> | undefined;
    const dropped = () => (mean ??= meanDropped(graph, site, select, activations));
    for (const op of site.linears) {
      const name = `${op.outputs.output}.compensation`;
      const weight = graph.params.get(op.params.weight)!;
      const bias = op.params.bias === undefined ? undefined : graph.params.get(op.params.bias)!;
      params.set(name, {
        shape: [weight.shape[0]!],
        key: JSON.stringify(['larosa', 'compensation', key, selectKey, weight.key, bias?.key]),
        async read([from, to] = [0, weight.shape[0]!]) {
          const out = product(await weight.read([from, to]), await dropped(), weight.shape[1]!);
          const own = await bias?.read([from, to]);
          return Float32Array.from(out, (number, i) => number + (own?.[i] ?? 0));
        },
      });
      changed.set(op, { ...op, params: { ...op.params, bias: name } });
    }
  }
  const rewritten = mapOps(graph, (op) => (op.kind === 'linear' && changed.get(op)) || op);
  return withParams(rewritten, params);
}

async function meanDropped(graph: Graph, site: LayerSite, select: CustomOp, activations: Activations) {
  const { width } = site;
  const rows = await activations(site.layer, site.site);
  const lists = await chosen(graph, select, rows, width);
  const dropped = Float64Array.from(rows);
  lists.forEach((list, row) => {
    for (const channel of list) dropped[row * width + channel] = 0;
  });
  return shrunkenMean(dropped, width);
}

/** The channels that an op chooses of each row, by its own reference kernel. */
export async function chosen(
  graph: Graph,
  select: CustomOp,
  rows: Float32Array,
  width: number,
): Promise<readonly Int32Array[]> {
  const count = rows.length / width;
  const lists = Array.from({ length: count }, () => new Int32Array(0));
  const params = new Map<string, Float32Array>();
  for (const [role, name] of Object.entries(select.params)) params.set(role, await graph.params.get(name)!.read());
  const positions = Int32Array.from({ length: count }, (_, row) => row);
  const zeros = new Int32Array(count);
  const context: ReferenceContext = {
    batch: { tokens: zeros, slots: zeros, positions, prompt: zeros, logitRows: positions },
    float: () => rows,
    channels: () => lists,
    width: () => width,
    rows: () => count,
    param: (role) => params.get(role)!,
    has: (role) => role in select.inputs || role in select.outputs || params.has(role),
    kv: { keys: () => new Float32Array(0), values: () => new Float32Array(0) },
  };
  select.definition.kernels.reference(select, context);
  return lists;
}

/**
 * The mean of rows, each number shrunk by how much of its square is chance: what few rows cannot show is left out rather than guessed
 * (positive-part James-Stein).
 */
export function shrunkenMean(rows: Float64Array, width: number): Float64Array {
  const count = rows.length / width;
  const mean = new Float64Array(width);
  const squares = new Float64Array(width);
  for (let at = 0; at < rows.length; at++) {
    mean[at % width]! += rows[at]! / count;
    squares[at % width]! += rows[at]! ** 2 / count;
  }
  return mean.map((number, i) => {
    const chance = (squares[i]! - number * number) / Math.max(1, count - 1);
    return number === 0 ? 0 : number * Math.max(0, 1 - chance / (number * number));
  });
}
