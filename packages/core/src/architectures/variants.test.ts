import { describe, expect, it } from 'vitest';
import { type ArchitectureFixture, openFixture } from '../../test/architectureFixtures.ts';
import type { Checkpoint, MetadataValue, TensorInfo } from '../checkpoint/checkpoint.ts';
import type { Op } from '../ops/op.ts';
import { buildGraph } from './index.ts';

interface Edit {
  /** Fields to set, or to take away. */
  metadata?: Record<string, MetadataValue | undefined>;
  /** Tensors to add by shape, or to take away. */
  tensors?: Record<string, readonly number[] | undefined>;
}

/** A fixture with other metadata and tensors. Its file is closed: building a graph reads nothing. */
async function edited(name: ArchitectureFixture, format: Checkpoint['format'], edit: Edit): Promise<Checkpoint> {
  const checkpoint = await openFixture(name, format);
  await checkpoint.close();
  const metadata = new Map(checkpoint.metadata);
  for (const [field, value] of Object.entries(edit.metadata ?? {})) {
    if (value === undefined) metadata.delete(field);
    else metadata.set(field, value);
  }
  const tensors = new Map<string, TensorInfo>(checkpoint.tensors);
  for (const [tensor, shape] of Object.entries(edit.tensors ?? {})) {
    if (shape === undefined) tensors.delete(tensor);
    else tensors.set(tensor, { name: tensor, shape, type: 'F32', byteLength: 0 });
  }
  return { ...checkpoint, metadata, tensors };
}

const ropes = (checkpoint: Checkpoint) =>
  buildGraph(checkpoint).ops.filter((op): op is Extract<Op, { kind: 'rope' }> => op.kind === 'rope');

describe('a variant that would answer wrongly is refused', () => {
  const hf = 'safetensors' as const;
  it.each<[string, ArchitectureFixture, Checkpoint['format'], Edit, RegExp]>([
    ['scaled positions', 'llama', hf, { metadata: { 'rope_scaling.rope_type': 'llama3' } }, /"rope_scaling.rope_type"/],
    ['scaled positions, as older files say it', 'phi', hf, { metadata: { 'rope_scaling.type': 'linear' } }, /"linear"/],
    [
      'scaled positions, as newer files say it',
      'qwen2',
      hf,
      { metadata: { 'rope_parameters.rope_type': 'yarn' } },
      /yarn/,
    ],
    [
      'positions per kind of layer',
      'qwen2',
      hf,
      { metadata: { 'rope_parameters.full_attention.rope_theta': 1e6 } },
      /in its own way in each kind of layer/,
    ],
    ['factors of frequencies', 'llama', 'gguf', { tensors: { 'rope_freqs.weight': [6] } }, /"rope_freqs.weight"/],
    ['scaled positions in GGUF', 'phi', 'gguf', { metadata: { 'phi2.rope.scale_linear': 2 } }, /scale_linear/],
    ['another activation', 'llama', hf, { metadata: { hidden_act: 'gelu' } }, /another activation than SiLU.*"gelu"/],
    ['an unknown activation', 'phi', hf, { metadata: { hidden_act: 'relu' } }, /"hidden_act" is "relu"/],
    ['biases in Llama', 'llama', hf, { tensors: { 'model.layers.0.self_attn.q_proj.bias': [48] } }, /q_proj\.bias/],
    [
      'normalised queries',
      'phi',
      hf,
      { tensors: { 'model.layers.0.self_attn.q_layernorm.weight': [12] } },
      /q_layernorm/,
    ],
    [
      'a window in some layers',
      'qwen2',
      hf,
      { metadata: { layer_types: ['full_attention', 'sliding_attention'], sliding_window: 32 } },
      /window.*layer_types/,
    ],
    [
      'a window in some layers, as older files say it',
      'qwen2',
      hf,
      { metadata: { layer_types: undefined, use_sliding_window: true, max_window_layers: 1, sliding_window: 32 } },
      /window.*use_sliding_window/,
    ],
    ['a window in GGUF', 'llama', 'gguf', { metadata: { 'llama.attention.sliding_window': 32 } }, /sliding_window/],
  ])('%s', async (_, name, format, edit, message) => {
    const checkpoint = await edited(name, format, edit);
    expect(() => buildGraph(checkpoint)).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_ARCHITECTURE_UNSUPPORTED',
        message: expect.stringMatching(message),
        where: expect.objectContaining({ file: checkpoint.path }),
      }),
    );
  });
});

describe('what changes nothing is accepted', () => {
  it.each<[string, ArchitectureFixture, Edit]>([
    ['a window that is not used', 'qwen2', { metadata: { use_sliding_window: false, sliding_window: 32 } }],
    ['a window in layers that are not there', 'qwen2', { metadata: { use_sliding_window: true, sliding_window: 32 } }],
    [
      'a window as wide as the context',
      'qwen2',
      { metadata: { layer_types: ['sliding_attention'], sliding_window: 64 } },
    ],
    ['a table of frequencies', 'llama', { tensors: { 'model.layers.0.self_attn.rotary_emb.inv_freq': [6] } }],
  ])('%s', async (_, name, edit) => {
    expect(buildGraph(await edited(name, 'safetensors', edit)).ops.length).toBeGreaterThan(20);
  });
});

describe('config.json as older versions of transformers wrote it', () => {
  const older = { 'rope_parameters.rope_theta': undefined, 'rope_parameters.rope_type': undefined };

  it('has the base of the positions beside the other fields', async () => {
    const [rope] = ropes(await edited('qwen2', 'safetensors', { metadata: { ...older, rope_theta: 1e6 } }));
    expect(rope).toMatchObject({ base: 1e6, pairing: 'halves', headDim: 12, rotaryDim: 12 });
  });

  it('may leave the base and the share that turns to their defaults', async () => {
    const metadata = { ...older, 'rope_parameters.partial_rotary_factor': undefined };
    expect(ropes(await edited('phi', 'safetensors', { metadata }))[0]).toMatchObject({ base: 10_000, rotaryDim: 6 });
    expect(
      ropes(await edited('phi', 'safetensors', { metadata: { ...metadata, partial_rotary_factor: 0.4 } }))[0],
    ).toMatchObject({ rotaryDim: 4 });
  });

  it('may leave out the width of a head and the number of KV heads', async () => {
    const { config } = buildGraph(
      await edited('phi', 'safetensors', { metadata: { num_key_value_heads: undefined, head_dim: undefined } }),
    );
    expect(config).toMatchObject({ architecture: 'phi', heads: 3, kvHeads: 3, headDim: 12, contextLength: 64 });
  });
});

describe('Phi in GGUF', () => {
  it('may have queries, keys and values in one tensor or in three', async () => {
    const tensors: Edit['tensors'] = {};
    for (const layer of [0, 1]) {
      tensors[`blk.${layer}.attn_qkv.weight`] = undefined;
      tensors[`blk.${layer}.attn_qkv.bias`] = undefined;
      for (const part of ['q', 'k', 'v']) {
        tensors[`blk.${layer}.attn_${part}.weight`] = [36, 36];
        tensors[`blk.${layer}.attn_${part}.bias`] = [36];
      }
    }
    const { ops } = buildGraph(await edited('phi', 'gguf', { tensors }));
    expect(ops).toEqual(buildGraph(await edited('phi', 'gguf', {})).ops);
  });

  it('is refused when the one tensor has other rows', async () => {
    const checkpoint = await edited('phi', 'gguf', { tensors: { 'blk.1.attn_qkv.weight': [100, 36] } });
    expect(() => buildGraph(checkpoint)).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_TENSOR_SHAPE',
        message: expect.stringMatching(/blk\.1\.attn_qkv\.weight.*\[100,36\].*\[108,36\]/),
      }),
    );
  });

  it('reads any rows of the parts', async () => {
    const checkpoint = await openFixture('phi', 'gguf');
    const { params } = buildGraph(checkpoint);
    const whole = await checkpoint.read('blk.0.attn_qkv.weight');
    const key = params.get('blk.0.attn_k.weight')!;
    expect(await key.read()).toEqual(whole.slice(36 * 36, 72 * 36));
    expect(await key.read([3, 5])).toEqual(whole.slice(39 * 36, 41 * 36));
    expect(await params.get('blk.0.attn_v.bias')!.read()).toEqual(
      (await checkpoint.read('blk.0.attn_qkv.bias')).slice(72),
    );
    await checkpoint.close();
  });

  it('turns whole heads where nothing else is said', async () => {
    const metadata = { 'phi2.rope.dimension_count': undefined };
    expect(ropes(await edited('phi', 'gguf', { metadata }))[0]).toMatchObject({ rotaryDim: 12 });
  });
});
