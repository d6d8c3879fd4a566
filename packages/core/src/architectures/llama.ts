import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';
import type { Graph } from '../graph/graph.ts';
import type { Op } from '../ops/op.ts';
import { readConfig } from './config.ts';
import { checkpointParams } from './params.ts';

/**
 * The Llama family: pre-norm blocks, rotary positions, grouped-query attention, SwiGLU.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID, LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE
 */
export function llama(checkpoint: Checkpoint): Graph {
  const { config, number } = readConfig(checkpoint);
  const { layers, width, heads, kvHeads, headDim, vocabularySize } = config;
  const epsilon = number('attention.layer_norm_rms_epsilon');
  const ffn = number('feed_forward_length');
  const { params, param } = checkpointParams(checkpoint);
  refuseScaledRope(checkpoint);
  // GGUF stores the query and key rows of Llama so that neighbours turn together.
  const rotary = {
    headDim,
    rotaryDim: number('rope.dimension_count', headDim),
    base: number('rope.freq_base', 10_000),
    pairing: 'neighbours',
  } as const;

  const ops: Op[] = [
    {
      kind: 'embed',
      inputs: {},
      outputs: { output: 'embedded' },
      params: { weight: param('token_embd.weight', [vocabularySize, width]) },
    },
  ];
  let residual = 'embedded';
  for (let layer = 0; layer < layers; layer++) {
    const value = (name: string) => `${layer}.${name}`;
    const weight = (name: string, shape: number[]) => param(`blk.${layer}.${name}.weight`, shape);
    const linear = (input: string, output: string, name: string, shape: [out: number, inputs: number]): Op => ({
      kind: 'linear',
      layer,
      inputs: { input: value(input) },
      outputs: { output: value(output) },
      params: { weight: weight(name, shape) },
    });
    const norm = (input: string, output: string, name: string): Op => ({
      kind: 'rmsNorm',
      layer,
      inputs: { input },
      outputs: { output: value(output) },
      params: { gain: weight(name, [width]) },
      epsilon,
    });
    const turn = (input: string, output: string): Op => ({
      kind: 'rope',
      layer,
      inputs: { input: value(input) },
      outputs: { output: value(output) },
      params: {},
      ...rotary,
    });
    const add = (left: string, right: string, output: string): Op => ({
      kind: 'add',
      layer,
      inputs: { left, right: value(right) },
      outputs: { output: value(output) },
      params: {},
    });
    ops.push(
      norm(residual, 'attentionNorm', 'attn_norm'),
      linear('attentionNorm', 'query', 'attn_q', [heads * headDim, width]),
      linear('attentionNorm', 'key', 'attn_k', [kvHeads * headDim, width]),
      linear('attentionNorm', 'value', 'attn_v', [kvHeads * headDim, width]),
      turn('query', 'queryTurned'),
      turn('key', 'keyTurned'),
      {
        kind: 'attention',
        layer,
        inputs: { query: value('queryTurned'), key: value('keyTurned'), value: value('value') },
        outputs: { output: value('attention') },
        params: {},
        heads,
        kvHeads,
        headDim,
        scale: 1 / Math.sqrt(headDim),
      },
      linear('attention', 'attentionOut', 'attn_output', [width, heads * headDim]),
      add(residual, 'attentionOut', 'middle'),
      norm(value('middle'), 'ffnNorm', 'ffn_norm'),
      linear('ffnNorm', 'gate', 'ffn_gate', [ffn, width]),
      linear('ffnNorm', 'up', 'ffn_up', [ffn, width]),
      {
        kind: 'gatedAct',
        layer,
        inputs: { gate: value('gate'), up: value('up') },
        outputs: { output: value('gated') },
        params: {},
        activation: 'silu',
      },
      linear('gated', 'ffnOut', 'ffn_down', [width, ffn]),
      add(value('middle'), 'ffnOut', 'hidden'),
    );
    residual = value('hidden');
  }
  const head = checkpoint.tensors.has('output.weight') ? 'output.weight' : 'token_embd.weight';
  ops.push(
    { kind: 'selectRows', inputs: { input: residual }, outputs: { output: 'selected' }, params: {} },
    {
      kind: 'rmsNorm',
      inputs: { input: 'selected' },
      outputs: { output: 'final' },
      params: { gain: param('output_norm.weight', [width]) },
      epsilon,
    },
    {
      kind: 'linear',
      inputs: { input: 'final' },
      outputs: { output: 'logits' },
      params: { weight: param(head, [vocabularySize, width]) },
    },
  );
  return { config, params, ops, logits: 'logits' };
}

/** Variants that stretch the rotary positions would run, and answer wrongly. */
function refuseScaledRope(checkpoint: Checkpoint): void {
  const field = `${checkpoint.architecture}.rope.scaling.type`;
  const type = checkpoint.metadata.get(field) ?? 'none';
  if (type === 'none' && !checkpoint.tensors.has('rope_freqs.weight')) return;
  throw new LlmoptError(
    'LLMOPT_METADATA_INVALID',
    `${checkpoint.path} scales its rotary positions (${field} is ${JSON.stringify(type)}), which is not supported.`,
    {
      where: { file: checkpoint.path, field },
      hint: 'Use a model without rope scaling.',
    },
  );
}
