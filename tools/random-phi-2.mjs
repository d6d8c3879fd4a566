// Writes a checkpoint of the shape of microsoft/phi-2 with random weights, 5.6 GB in bfloat16: node tools/random-phi-2.mjs FOLDER
// For measurements of loading and decoding that need a real file; what the model says means nothing. Needs the packages built.
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomCheckpoint, shapes } from '../packages/bench/src/kernels/shapes.ts';
import { writeSafetensors } from '../packages/core/dist/index.js';

const shape = shapes['phi-2'];
const rowsAtOnce = 1024;

const config = {
  architectures: ['PhiForCausalLM'],
  model_type: 'phi',
  vocab_size: shape.vocabulary,
  hidden_size: shape.width,
  intermediate_size: shape.ffn,
  num_hidden_layers: shape.layers,
  num_attention_heads: shape.heads,
  num_key_value_heads: shape.kvHeads,
  partial_rotary_factor: shape.rotaryDim / shape.headDim,
  max_position_embeddings: 2048,
  layer_norm_eps: 1e-5,
  rope_theta: 10_000,
  hidden_act: 'gelu_new',
  tie_word_embeddings: false,
  torch_dtype: 'bfloat16',
};

/** transformers' names of llama.cpp's parts. */
const parts = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.final_layernorm',
  output: 'lm_head',
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.dense',
  ffn_up: 'mlp.fc1',
  ffn_down: 'mlp.fc2',
};

function transformersName(name) {
  const [, layer, part, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(\w+)$/.exec(name);
  return `${layer === undefined ? '' : `model.layers.${layer}.`}${parts[part]}.${kind}`;
}

async function* read(checkpoint, { name, shape: [rows] }) {
  for (let from = 0; from < rows; from += rowsAtOnce) {
    yield await checkpoint.read(name, [from, Math.min(rows, from + rowsAtOnce)]);
  }
}

const [folder] = process.argv.slice(2);
if (!folder) {
  console.error('Usage: node tools/random-phi-2.mjs FOLDER');
  process.exitCode = 2;
} else {
  const checkpoint = randomCheckpoint(shape);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  // A tokenizer of the same kind with fewer tokens.
  const tokenizer = new URL('../packages/core/test/fixtures/tokenizers/phi/', import.meta.url);
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) {
    await copyFile(new URL(name, tokenizer), join(folder, name));
  }
  await writeSafetensors(
    join(folder, 'model.safetensors'),
    new Map(
      Array.from(checkpoint.tensors.values(), (tensor) => [
        transformersName(tensor.name),
        { shape: tensor.shape, type: 'BF16', data: () => read(checkpoint, tensor) },
      ]),
    ),
  );
}
