import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Graph } from '../graph/graph.ts';
import type { Op } from '../ops/op.ts';
import { type Formats, ggufNames, transformersNames } from './names.ts';
import { opWriter } from './ops.ts';
import { openSource } from './source.ts';

const formats: Formats = {
  gguf(architecture) {
    const names = ggufNames(architecture);
    return {
      ...names,
      facts: { ...names.facts, epsilon: [`${architecture}.attention.layer_norm_epsilon`] },
      stacked: {
        name: 'blk.{layer}.attn_qkv',
        parts: ['query', 'key', 'value'],
        rows: ({ heads, kvHeads, headDim }) => [heads * headDim, kvHeads * headDim, kvHeads * headDim],
      },
    };
  },
  safetensors: () => ({
    ...transformersNames,
    facts: {
      ...transformersNames.facts,
      epsilon: ['layer_norm_eps'],
      rotaryShare: ['rope_parameters.partial_rotary_factor', 'partial_rotary_factor'],
    },
    defaults: { ...transformersNames.defaults, rotaryShare: 0.5 },
    tensors: {
      ...transformersNames.tensors,
      attentionOut: 'model.layers.{layer}.self_attn.dense',
      up: 'model.layers.{layer}.mlp.fc1',
      ffnOut: 'model.layers.{layer}.mlp.fc2',
      final: 'model.final_layernorm',
    },
  }),
};

/** Words for activations: three for one function, which llama.cpp does not name. */
const activations = {
  gelu_new: 'geluTanh',
  gelu_fast: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu: 'gelu',
  silu: 'silu',
} as const;

/**
 * Phi-1, 1.5 and 2: one LayerNorm feeds attention and the two-layer perceptron, and both are added to the residual; part of each
 * head turns; biases everywhere, also on the head.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID, LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE, LLMOPT_ARCHITECTURE_UNSUPPORTED
 */
export function phi(checkpoint: Checkpoint): Graph {
  const source = openSource(checkpoint, formats);
  const { layers, width, heads, kvHeads, headDim } = source.config;
  const ffn = source.count('ffn');
  const activation = source.choice('activation', 'gelu_new', activations);
  const style = {
    norm: 'layerNorm',
    epsilon: source.number('epsilon'),
    rotaryDim: source.count('rotaryDim', Math.floor(headDim * source.number('rotaryShare', 1))),
    ropeBase: source.number('ropeBase'),
  } as const;
  const ops: Op[] = [];
  const outside = opWriter(source, ops, style);
  let residual = outside.embed('embedded');
  for (let layer = 0; layer < layers; layer++) {
    const block = opWriter(source, ops, style, layer);
    const x = block.norm('attentionNorm', residual);
    const query = block.linear('query', x, [heads * headDim, width], true);
    const key = block.linear('key', x, [kvHeads * headDim, width], true);
    const value = block.linear('value', x, [kvHeads * headDim, width], true);
    const up = block.linear('up', x, [ffn, width], true);
    const turned = { query: block.rope('queryTurned', query), key: block.rope('keyTurned', key) };
    const attention = block.attention('attention', { ...turned, value });
    const attentionOut = block.linear('attentionOut', attention, [width, heads * headDim], true);
    const ffnOut = block.linear('ffnOut', block.act('activated', up, activation), [width, ffn], true);
    residual = block.add('hidden', residual, block.add('both', attentionOut, ffnOut));
  }
  const final = outside.norm('final', outside.selectRows('selected', residual));
  const logits = outside.head('logits', 'embedded', final, true);
  return { config: source.config, params: source.params(), ops, logits };
}
