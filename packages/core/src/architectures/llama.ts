import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Graph } from '../graph/graph.ts';
import { decoder } from './decoder.ts';
import { type Formats, ggufNames, type Names, transformersNames } from './names.ts';
import { openSource } from './source.ts';

/** llama.cpp's names of a decoder with RMS norms and a gated middle. */
export function ggufGated(architecture: string): Names {
  const names = ggufNames(architecture);
  return {
    ...names,
    facts: { ...names.facts, epsilon: [`${architecture}.attention.layer_norm_rms_epsilon`] },
    tensors: { ...names.tensors, ffnNorm: 'blk.{layer}.ffn_norm', gate: 'blk.{layer}.ffn_gate' },
  };
}

/** The same by transformers' names. */
export const transformersGated: Names = {
  ...transformersNames,
  facts: { ...transformersNames.facts, epsilon: ['rms_norm_eps'] },
  tensors: {
    ...transformersNames.tensors,
    attentionOut: 'model.layers.{layer}.self_attn.o_proj',
    ffnNorm: 'model.layers.{layer}.post_attention_layernorm',
    gate: 'model.layers.{layer}.mlp.gate_proj',
    up: 'model.layers.{layer}.mlp.up_proj',
    ffnOut: 'model.layers.{layer}.mlp.down_proj',
    final: 'model.norm',
  },
  variants: [
    ...transformersNames.variants,
    { field: 'hidden_act', when: (activation) => activation !== 'silu', does: 'has another activation than SiLU' },
  ],
};

const formats: Formats = {
  // llama.cpp sorts the rows of queries and keys so that neighbours turn together.
  gguf: (architecture) => ({ ...ggufGated(architecture), pairing: 'neighbours' }),
  safetensors: () => transformersGated,
};

/**
 * The Llama family: pre-norm blocks, rotary positions, grouped-query attention, SwiGLU, no biases.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID, LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE, LLMOPT_ARCHITECTURE_UNSUPPORTED
 */
export function llama(checkpoint: Checkpoint): Graph {
  return decoder(openSource(checkpoint, formats), { bias: false });
}
