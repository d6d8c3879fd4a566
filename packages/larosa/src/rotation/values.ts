import { type Graph, type LinearOp, LlmoptError, mapOps, type Param, withParams } from '@llmopt/core';
import { product, transposed } from '../linearAlgebra/product.ts';
import { producersOf } from '../sites.ts';
import type { Basis } from './basis.ts';

/**
 * The same model with the values of each KV head in a basis of their own, absorbed in the rows of v and the columns of o: attention sums
 * values and never looks inside them, so this costs nothing at run time.
 * `basisOf`: one per layer and KV head, `headDim` wide.
 * @throws LLMOPT_PLAN when something else than a linear makes the values or reads what attention makes of them
 */
export function rotateValues(graph: Graph, basisOf: (layer: number, kvHead: number) => Basis): Graph {
  const producers = producersOf(graph);
  const params = new Map<string, Param>();
  const replaced = new Map<LinearOp, LinearOp['params']>();
  for (const op of graph.ops) {
    if (op.kind !== 'attention') continue;
    const { layer, heads, kvHeads } = op;
    const v = producers.get(op.inputs.value);
    const readers = graph.ops.filter((other) => Object.values<string>(other.inputs).includes(op.outputs.output));
    const ofValue = graph.ops.filter((other) => Object.values<string>(other.inputs).includes(op.inputs.value));
    if (v?.kind !== 'linear' || ofValue.length !== 1 || readers.some(({ kind }) => kind !== 'linear')) {
      throw new LlmoptError('LLMOPT_PLAN', 'larosa cannot rotate the values of this model:', {
        problems: [`the values of layer ${layer} do not go from one linear through attention to others alone`],
        hint: 'Leave values at false.',
      });
    }
    const bases = Array.from({ length: kvHeads }, (_, head) => basisOf(layer, head));
    const { weight, bias } = v.params;
    params.set(`${weight} valued`, rowsIn(bases, graph.params.get(weight)!));
    if (bias !== undefined) params.set(`${bias} valued`, rowsIn(bases, graph.params.get(bias)!));
    replaced.set(v, { weight: `${weight} valued`, ...(bias !== undefined && { bias: `${bias} valued` }) });
    const ofHeads = Array.from({ length: heads }, (_, head) => bases[Math.floor(head / (heads / kvHeads))]!);
    for (const reader of readers as LinearOp[]) {
      const name = `${reader.params.weight} valued`;
      params.set(name, columnsIn(ofHeads, graph.params.get(reader.params.weight)!));
      replaced.set(reader, { ...reader.params, weight: name });
    }
  }
  const rewritten = mapOps(graph, (op) => {
    const changed = op.kind === 'linear' ? replaced.get(op) : undefined;
    return changed ? ({ ...op, params: changed } as LinearOp) : op;
  });
  return withParams(rewritten, params);
}

const keysOf = (bases: readonly Basis[]) => bases.map(({ key }) => key);

/** Rows `[heads · headDim, inputs]` of a weight, or numbers of a bias, by the transpose of the basis of each head. */
function rowsIn(bases: readonly Basis[], weight: Param): Param {
  const { width } = bases[0]!;
  return {
    shape: weight.shape,
    key: JSON.stringify(['larosa', 'values', keysOf(bases), weight.key]),
    async read([from, to] = [0, weight.shape[0]!]) {
      const firstHead = Math.floor(from / width);
      const lastHead = Math.ceil(to / width);
      const numbers = await weight.read([firstHead * width, lastHead * width]);
      const columns = numbers.length / ((lastHead - firstHead) * width);
      const out = new Float32Array(numbers.length);
      for (let head = firstHead; head < lastHead; head++) {
        const at = (head - firstHead) * width * columns;
        const rows = numbers.subarray(at, at + width * columns);
        out.set(product(transposed(await bases[head]!.matrix(), width), rows, width), at);
      }
      return out.slice((from - firstHead * width) * columns, (to - firstHead * width) * columns);
    },
  };
}

/** Columns `[outputs, heads · headDim]` of a weight, by the basis of each head. */
function columnsIn(bases: readonly Basis[], weight: Param): Param {
  const { width } = bases[0]!;
  const inputs = weight.shape[1]!;
  return {
    shape: weight.shape,
    key: JSON.stringify(['larosa', 'heads', keysOf(bases), weight.key]),
    async read(rows) {
      const numbers = await weight.read(rows);
      const count = numbers.length / inputs;
      const out = new Float32Array(numbers.length);
      const block = new Float32Array(count * width);
      for (const [head, basis] of bases.entries()) {
        for (let row = 0; row < count; row++) {
          const at = row * inputs + head * width;
          block.set(numbers.subarray(at, at + width), row * width);
        }
        const turned = Float32Array.from(product(block, await basis.matrix(), width));
        for (let row = 0; row < count; row++) {
          out.set(turned.subarray(row * width, (row + 1) * width), row * inputs + head * width);
        }
      }
      return out;
    },
  };
}
