import type { Checkpoint, MetadataValue } from '../checkpoint/checkpoint.ts';
import type { ModelConfig } from '../graph/graph.ts';
import type { RopeOp } from '../ops/op.ts';

/** A number or a word that architectures ask for. */
export type Fact =
  | 'layers'
  | 'width'
  | 'heads'
  | 'kvHeads'
  | 'headDim'
  | 'ffn'
  | 'contextLength'
  | 'vocabularySize'
  | 'epsilon'
  | 'ropeBase'
  | 'rotaryDim'
  | 'rotaryShare'
  | 'activation';

/** A tensor of a decoder, or the pair of weight and bias; each is named after the value that its op makes. */
export type TensorName =
  | 'embedded'
  | 'attentionNorm'
  | 'query'
  | 'key'
  | 'value'
  | 'attentionOut'
  | 'ffnNorm'
  | 'gate'
  | 'up'
  | 'ffnOut'
  | 'final'
  | 'logits';

export type Metadata = Checkpoint['metadata'];

/** A field that may say that the model is a variant which would run, and answer wrongly. */
export interface Variant {
  readonly field: string | RegExp;
  readonly when: (value: MetadataValue, metadata: Metadata) => boolean;
  /** What the model does then, as in "it …". */
  readonly does: string;
}

/** Where the files of one format keep an architecture. */
export interface Names {
  /** Metadata fields by fact; the first of them that is there counts. */
  readonly facts: Readonly<Partial<Record<Fact, readonly string[]>>>;
  /** What holds where no field tells. */
  readonly defaults: Readonly<Partial<Record<Fact, number>>>;
  /** Names of tensors without `.weight` and `.bias`, of those that the architecture has; `{layer}` is the number of the layer. */
  readonly tensors: Readonly<Partial<Record<TensorName, string>>>;
  /** A tensor that may stand for several: those have their rows in it, one below the other. */
  readonly stacked?: {
    readonly name: string;
    readonly parts: readonly TensorName[];
    rows(config: ModelConfig): number[];
  };
  /** How rows of queries and keys are sorted. */
  readonly pairing: RopeOp['pairing'];
  readonly variants: readonly Variant[];
  /** Tensors that may be there and say nothing. */
  readonly idle: RegExp;
}

/** Where each format keeps an architecture; `architecture` is the name that the file has for it. */
export type Formats = Readonly<Record<Checkpoint['format'], (architecture: string) => Names>>;

/** What all architectures share in GGUF files, by llama.cpp's names. */
export const ggufNames = (architecture: string): Names => ({
  facts: {
    layers: [`${architecture}.block_count`],
    width: [`${architecture}.embedding_length`],
    heads: [`${architecture}.attention.head_count`],
    kvHeads: [`${architecture}.attention.head_count_kv`],
    headDim: [`${architecture}.attention.key_length`],
    ffn: [`${architecture}.feed_forward_length`],
    contextLength: [`${architecture}.context_length`],
    vocabularySize: [`${architecture}.vocab_size`],
    ropeBase: [`${architecture}.rope.freq_base`],
    rotaryDim: [`${architecture}.rope.dimension_count`],
  },
  defaults: { ropeBase: 10_000 },
  tensors: {
    embedded: 'token_embd',
    attentionNorm: 'blk.{layer}.attn_norm',
    query: 'blk.{layer}.attn_q',
    key: 'blk.{layer}.attn_k',
    value: 'blk.{layer}.attn_v',
    attentionOut: 'blk.{layer}.attn_output',
    up: 'blk.{layer}.ffn_up',
    ffnOut: 'blk.{layer}.ffn_down',
    final: 'output_norm',
    logits: 'output',
  },
  // Only the llama architecture has its rows sorted anew by llama.cpp.
  pairing: 'halves',
  variants: [
    scaledRope(`${architecture}.rope.scaling.type`, 'none'),
    scaledRope(`${architecture}.rope.scale_linear`, 1),
    {
      field: `${architecture}.attention.sliding_window`,
      when: (window, metadata) => isBelow(window, metadata.get(`${architecture}.context_length`)),
      does: 'lets a token see a window of those before it only',
    },
  ],
  idle: /^$/,
});

/** What all architectures share in files of transformers: fields of `config.json`, also as older versions wrote them. */
export const transformersNames: Names = {
  facts: {
    layers: ['num_hidden_layers'],
    width: ['hidden_size'],
    heads: ['num_attention_heads'],
    kvHeads: ['num_key_value_heads'],
    headDim: ['head_dim'],
    ffn: ['intermediate_size'],
    contextLength: ['max_position_embeddings'],
    vocabularySize: ['vocab_size'],
    ropeBase: ['rope_scaling.rope_theta', 'rope_parameters.rope_theta', 'rope_theta'],
    activation: ['hidden_act'],
  },
  defaults: { ropeBase: 10_000 },
  tensors: {
    embedded: 'model.embed_tokens',
    attentionNorm: 'model.layers.{layer}.input_layernorm',
    query: 'model.layers.{layer}.self_attn.q_proj',
    key: 'model.layers.{layer}.self_attn.k_proj',
    value: 'model.layers.{layer}.self_attn.v_proj',
    logits: 'lm_head',
  },
  pairing: 'halves',
  variants: [
    // A type, or one per kind of layer.
    scaledRope(/^rope_(scaling|parameters)\.(.+\.)?(rope_)?type$/, 'default'),
    {
      field: /^rope_(scaling|parameters)\..+\.rope_theta$/,
      when: () => true,
      does: 'turns positions in its own way in each kind of layer',
    },
  ],
  // Older versions kept a table that follows from the base.
  idle: /\.rotary_emb\.inv_freq$/,
};

function scaledRope(field: Variant['field'], plain: MetadataValue): Variant {
  return { field, when: (value) => value !== plain, does: 'scales its rotary positions' };
}

export function isBelow(value: MetadataValue | undefined, limit: MetadataValue | undefined): boolean {
  return typeof value === 'number' && typeof limit === 'number' && value < limit;
}
