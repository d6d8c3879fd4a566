import { definitionOf, type Graph, type Op, type ReferenceContext } from '@llmopt/core';
import { product, transposed } from '../linearAlgebra/product.ts';
import { topK } from '../selection/choose.ts';
import { type LayerSite, layerSites } from '../sites.ts';

/** Shares of a site's inputs that are dropped to see what it costs. */
export const costShares = [0.25, 0.5, 0.75] as const;

/** Rows by the name of their value. */
type Values = Map<string, Float32Array>;

export interface SampledSite {
  readonly site: LayerSite;
  /** Its inputs, `[rows, width]`. */
  readonly rows: Float32Array;
  /** How large the residual stream is in these rows. */
  readonly residualRms: Float32Array;
  /** What attention made in these rows: how much smaller than the values it is, since it averages them. */
  readonly attended?: Float32Array | undefined;
}

/**
 * What dropping inputs of one site does to the residual stream: how much c is changed of the square of its length, as the mean of
 * c / (1 + c) over rows, for each of `costShares`. Followed from the site to where its layer adds to the stream; attention is taken for a token that
 * sees itself only, and as small as it is.
 */
export async function siteCosts(
  graph: Graph,
  { site, rows, residualRms, attended }: SampledSite,
): Promise<readonly number[]> {
  const { width } = site;
  let scale: number | undefined;
  const scaleOf = (values: Float32Array) => (scale ??= attended ? Math.sqrt(energy(attended) / energy(values)) : 1);
  const dense = await addedBy(graph, site, rows, scaleOf);
  const costs: number[] = [];
  for (const share of costShares) {
    const keep = Math.max(1, Math.round(width * (1 - share)));
    const sparse = new Float32Array(rows.length);
    for (let at = 0; at < rows.length; at += width) {
      for (const channel of topK(rows.subarray(at, at + width), keep)) sparse[at + channel] = rows[at + channel]!;
    }
    const changed = await addedBy(graph, site, sparse, scaleOf);
    const across = graph.config.width;
    const changes = new Float64Array(residualRms.length);
    for (const [name, expected] of dense) {
      const actual = changed.get(name)!;
      for (let i = 0; i < expected.length; i++) {
        const row = Math.floor(i / across);
        changes[row]! += (actual[i]! - expected[i]!) ** 2 / (across * residualRms[row]! ** 2);
      }
    }
    costs.push(changes.reduce((sum, change) => sum + change / (1 + change), 0) / changes.length);
  }
  return costs;
}

/** What a layer adds to the residual stream, of that which depends on one site alone. */
async function addedBy(
  graph: Graph,
  { layer, input, width }: LayerSite,
  rows: Float32Array,
  scaleOf: (values: Float32Array) => number,
): Promise<Values> {
  const values: Values = new Map([[input, rows]]);
  const added: Values = new Map();
  const count = rows.length / width;
  for (const op of graph.ops) {
    if (op.layer !== layer) continue;
    const known = Object.values<string>(op.inputs).filter((name) => values.has(name));
    if (known.length === 0) continue;
    if (op.kind === 'attention') {
      const value = values.get(op.inputs.value);
      if (!value) continue;
      const own = seeingItself(value, count, op);
      const scale = scaleOf(own);
      values.set(
        op.outputs.output,
        own.map((x) => x * scale),
      );
    } else if (known.length < Object.keys(op.inputs).length) {
      if (op.kind === 'add') added.set(known[0]!, values.get(known[0]!)!);
    } else if (op.kind === 'linear') {
      const [weight, bias] = await Promise.all(
        [op.params.weight, op.params.bias].map((name) =>
          name === undefined ? undefined : graph.params.get(name)!.read(),
        ),
      );
      const x = values.get(op.inputs.input)!;
      const inputs = x.length / count;
      const out = Float32Array.from(product(x, transposed(weight!, inputs), inputs));
      values.set(op.outputs.output, bias ? out.map((y, i) => y + bias[i % bias.length]!) : out);
    } else if (op.kind !== 'rope') values.set(Object.values<string>(op.outputs)[0]!, pointwise(op, values, count));
  }
  return added;
}

const energy = (numbers: Float32Array) => numbers.reduce((sum, x) => sum + x * x, 0) || 1;

function seeingItself(value: Float32Array, rows: number, op: Extract<Op, { kind: 'attention' }>): Float32Array {
  const { heads, kvHeads, headDim } = op;
  const out = new Float32Array(rows * heads * headDim);
  for (let row = 0; row < rows; row++) {
    for (let head = 0; head < heads; head++) {
      const from = (row * kvHeads + Math.floor(head / (heads / kvHeads))) * headDim;
      out.set(value.subarray(from, from + headDim), (row * heads + head) * headDim);
    }
  }
  return out;
}

/** An op without parameters whose output is as wide as its inputs, by its reference kernel. */
function pointwise(op: Op, values: Values, rows: number): Float32Array {
  const names: Record<string, string> = op.inputs;
  const out = new Float32Array(values.get(Object.values(names)[0]!)!.length);
  const numbers = Int32Array.from({ length: rows }, (_, row) => row);
  const context: ReferenceContext = {
    batch: { tokens: numbers, slots: numbers, positions: numbers, prompt: numbers, logitRows: numbers },
    float: (role) => (role in names ? values.get(names[role]!)! : out),
    channels: () => [],
    width: () => out.length / rows,
    rows: () => rows,
    param: () => new Float32Array(0),
    has: (role) => role in names,
    kv: { keys: () => out, values: () => out },
  };
  definitionOf(op).kernels.reference(op, context);
  return out;
}

// Enough to tell sites apart: what they cost differs by factors.
const ROWS = 32;

/** The costs of all sites of a model, in the order of `layerSites`, `[sites, costShares]`, from rows without the gains of norms. */
export async function allCosts(
  graph: Graph,
  rowsOf: (site: Pick<LayerSite, 'layer' | 'site'>) => Float32Array,
  rmsOf: (layer: number) => Float32Array | undefined,
  control: { onProgress?: (fraction: number) => void; signal?: AbortSignal | undefined } = {},
): Promise<Float32Array> {
  const sites = layerSites(graph);
  const attentionWidth = graph.config.heads * graph.config.headDim;
  const costs = new Float32Array(sites.length * costShares.length);
  for (const [i, site] of sites.entries()) {
    control.signal?.throwIfAborted();
    const { width, norm } = site;
    const gain = await (norm && graph.params.get(norm.params.gain)!.read());
    const some = rowsOf(site).slice(0, ROWS * width);
    const rows = gain ? some.map((x, at) => x * gain[at % width]!) : some;
    const residualRms =
      rmsOf(site.layer)?.subarray(0, rows.length / width) ?? new Float32Array(rows.length / width).fill(1);
    const attended =
      site.site === 'attentionInput'
        ? rowsOf({ layer: site.layer, site: 'attentionOutput' }).subarray(0, residualRms.length * attentionWidth)
        : undefined;
    costs.set(await siteCosts(graph, { site, rows, residualRms, attended }), i * costShares.length);
    control.onProgress?.((i + 1) / sites.length);
    // The event loop stays free.
    await new Promise((resolve) => setImmediate(resolve));
  }
  return costs;
}
