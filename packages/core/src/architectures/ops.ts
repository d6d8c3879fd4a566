import type { ActOp, Op } from '../ops/op.ts';
import type { TensorName } from './names.ts';
import type { Source } from './source.ts';

/** How an architecture normalises, and how it turns queries and keys. */
export interface BlockStyle {
  readonly norm: 'rmsNorm' | 'layerNorm';
  readonly epsilon: number;
  readonly rotaryDim: number;
  readonly ropeBase: number;
}

/**
 * Writes ops to the end of a list. Each function makes one value, named by its first argument and the layer, and returns the
 * value's name; the tensor of a norm, a linear or the embedding has the name of what it makes.
 */
export function opWriter(source: Source, ops: Op[], style: BlockStyle, layer?: number) {
  const { width, heads, kvHeads, headDim, vocabularySize } = source.config;
  const where = layer === undefined ? {} : { layer };
  const value = (name: string) => (layer === undefined ? name : `${layer}.${name}`);
  const push = (op: Op, output: string): string => {
    ops.push(op);
    return output;
  };

  function linear(name: TensorName, input: string, shape: [outputs: number, inputs: number], bias = false): string {
    const output = value(name);
    const weight = source.param(name, 'weight', shape, layer);
    const params = bias ? { weight, bias: source.param(name, 'bias', [shape[0]], layer) } : { weight };
    return push({ kind: 'linear', ...where, inputs: { input }, outputs: { output }, params }, output);
  }
  return {
    linear,
    embed(name: TensorName): string {
      const output = value(name);
      const weight = source.param(name, 'weight', [vocabularySize, width]);
      return push({ kind: 'embed', inputs: {}, outputs: { output }, params: { weight } }, output);
    },
    norm(name: TensorName, input: string): string {
      const output = value(name);
      const op = { ...where, inputs: { input }, outputs: { output } };
      const gain = source.param(name, 'weight', [width], layer);
      const { epsilon } = style;
      if (style.norm === 'rmsNorm') return push({ kind: 'rmsNorm', ...op, params: { gain }, epsilon }, output);
      const bias = source.param(name, 'bias', [width], layer);
      return push({ kind: 'layerNorm', ...op, params: { gain, bias }, epsilon }, output);
    },
    rope(name: string, input: string): string {
      const output = value(name);
      const { rotaryDim, ropeBase: base } = style;
      const { pairing } = source;
      const op = { ...where, inputs: { input }, outputs: { output }, params: {} };
      return push({ kind: 'rope', ...op, headDim, rotaryDim, base, pairing }, output);
    },
    attention(name: string, inputs: { query: string; key: string; value: string }): string {
      const output = value(name);
      const op = { layer: layer!, inputs, outputs: { output }, params: {} };
      return push({ kind: 'attention', ...op, heads, kvHeads, headDim, scale: 1 / Math.sqrt(headDim) }, output);
    },
    gatedAct(name: string, gate: string, up: string): string {
      const output = value(name);
      const op = { ...where, inputs: { gate, up }, outputs: { output }, params: {} };
      return push({ kind: 'gatedAct', ...op, activation: 'silu' }, output);
    },
    act(name: string, input: string, activation: ActOp['activation']): string {
      const output = value(name);
      return push({ kind: 'act', ...where, inputs: { input }, outputs: { output }, params: {}, activation }, output);
    },
    add(name: string, left: string, right: string): string {
      const output = value(name);
      return push({ kind: 'add', ...where, inputs: { left, right }, outputs: { output }, params: {} }, output);
    },
    selectRows(name: string, input: string): string {
      const output = value(name);
      return push({ kind: 'selectRows', inputs: { input }, outputs: { output }, params: {} }, output);
    },
    /** The logits, by a matrix of its own, or by the embedding where there is none. */
    head(name: TensorName, embedding: TensorName, input: string, bias = false): string {
      const weight = source.param(source.has(name) ? name : embedding, 'weight', [vocabularySize, width]);
      const params = bias ? { weight, bias: source.param(name, 'bias', [vocabularySize]) } : { weight };
      return push({ kind: 'linear', inputs: { input }, outputs: { output: name }, params }, name);
    },
  };
}
