import type { OpDefinition } from './define.ts';

type NamedValues = Readonly<Record<string, string>>;

interface OpOf<Kind extends string, Inputs, Outputs, Params> {
  readonly kind: Kind;
  /** The layer this op belongs to, for printing, profiles and budgets. */
  readonly layer?: number;
  /** Value names by role. */
  readonly inputs: Readonly<Inputs>;
  readonly outputs: Readonly<Outputs>;
  /** Parameter names by role. */
  readonly params: Readonly<Params>;
}

// `type`, not `interface`: only type aliases are assignable to Record<string, string>.
type None = Record<never, string>;
type Input = { input: string };
type Output = { output: string };

/** Rows of the embedding matrix `[vocabulary, width]`, one per token of the batch. */
export type EmbedOp = OpOf<'embed', None, Output, { weight: string }>;

/** x / sqrt(mean(x²) + epsilon) · gain, per row. */
export interface RmsNormOp extends OpOf<'rmsNorm', Input, Output, { gain: string }> {
  readonly epsilon: number;
}

/** (x − mean) / sqrt(variance + epsilon) · gain + bias, per row; the variance is that of the row, mean((x − mean)²). */
export interface LayerNormOp extends OpOf<'layerNorm', Input, Output, { gain: string; bias: string }> {
  readonly epsilon: number;
}

/**
 * input · weightᵀ (+ bias), weight `[out, in]`. With `channels`, only the listed input channels count;
 * a backend skips the others or treats them as zero.
 */
export interface LinearOp
  extends OpOf<'linear', { input: string; channels?: string }, Output, { weight: string; bias?: string }> {
  /** A backend that quantises weights keeps these as they are, or as good as: in 16 bits. */
  readonly precise?: boolean;
}

/** Rotary position embedding on heads that lie side by side. */
export interface RopeOp extends OpOf<'rope', Input, Output, None> {
  readonly headDim: number;
  /** How many leading dimensions of each head turn; even, at most headDim. */
  readonly rotaryDim: number;
  readonly base: number;
  /** Which two numbers turn together: neighbours (2i, 2i+1), or halves (i, i + rotaryDim/2). */
  readonly pairing: 'neighbours' | 'halves';
}

/**
 * Causal attention. Stores the key and value rows in the KV cache, then lets each query see its own
 * sequence up to and including its own position. heads is a multiple of kvHeads.
 */
export interface AttentionOp extends OpOf<'attention', { query: string; key: string; value: string }, Output, None> {
  readonly layer: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
}

/** silu(gate) · up. */
export interface GatedActOp extends OpOf<'gatedAct', { gate: string; up: string }, Output, None> {
  readonly activation: 'silu';
}

/**
 * An activation, number by number. `gelu` is x · Φ(x), Φ the standard normal distribution; `geluTanh` its approximation
 * x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))); `silu` is x / (1 + e⁻ˣ).
 */
export interface ActOp extends OpOf<'act', Input, Output, None> {
  readonly activation: 'gelu' | 'geluTanh' | 'silu';
}

export type AddOp = OpOf<'add', { left: string; right: string }, Output, None>;

/** The rows that want logits, out of all rows of the batch. */
export type SelectRowsOp = OpOf<'selectRows', Input, Output, None>;

/** An op that a plugin brings. Its kind has a dot in it: `plugin.op`. */
export interface CustomOp extends OpOf<`${string}.${string}`, NamedValues, NamedValues, NamedValues> {
  readonly attributes: Readonly<Record<string, number | string | boolean>>;
  readonly definition: OpDefinition<CustomOp>;
}

export type CoreOp =
  | EmbedOp
  | RmsNormOp
  | LayerNormOp
  | LinearOp
  | RopeOp
  | AttentionOp
  | GatedActOp
  | ActOp
  | AddOp
  | SelectRowsOp;

export type Op = CoreOp | CustomOp;

export function isCustom(op: Op): op is CustomOp {
  return op.kind.includes('.');
}
