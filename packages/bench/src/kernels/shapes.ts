import { buildGraph, type Checkpoint, type Graph, type TensorInfo, withParams } from '@llmopt/core';

/** Sizes of a Llama model whose head is its embedding. */
export interface ModelShape {
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ffn: number;
  layers: number;
  vocabulary: number;
}

/** Shapes that can be measured without a checkpoint. */
export const shapes = {
  '135m': { width: 576, heads: 9, kvHeads: 3, headDim: 64, ffn: 1536, layers: 30, vocabulary: 49_152 },
  '1b': { width: 2048, heads: 32, kvHeads: 4, headDim: 64, ffn: 5632, layers: 22, vocabulary: 32_000 },
} as const satisfies Record<string, ModelShape>;

export type ShapeName = keyof typeof shapes;

const context = 2048;

/**
 * A model of this shape with random weights, made when they are read. All layers have the same ones, under the same keys, so that a
 * backend packs them once.
 */
export function randomGraph(shape: ModelShape): Graph {
  const graph = buildGraph(randomCheckpoint(shape));
  const shared = Array.from(graph.params, ([name, param]) => [name, { ...param, key: roleOf(name) }] as const);
  return withParams(graph, shared);
}

const roleOf = (tensor: string) => tensor.replace(/^blk\.\d+\./, '');

function randomCheckpoint({ width, heads, kvHeads, headDim, ffn, layers, vocabulary }: ModelShape): Checkpoint {
  const tensors = new Map<string, TensorInfo>();
  const add = (name: string, ...shape: number[]) => {
    const byteLength = 4 * shape.reduce((product, size) => product * size, 1);
    tensors.set(name, { name, shape, type: 'F32', byteLength });
  };
  add('token_embd.weight', vocabulary, width);
  add('output_norm.weight', width);
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string) => `blk.${layer}.${name}.weight`;
    add(of('attn_norm'), width);
    add(of('attn_q'), heads * headDim, width);
    add(of('attn_k'), kvHeads * headDim, width);
    add(of('attn_v'), kvHeads * headDim, width);
    add(of('attn_output'), width, heads * headDim);
    add(of('ffn_norm'), width);
    add(of('ffn_gate'), ffn, width);
    add(of('ffn_up'), ffn, width);
    add(of('ffn_down'), width, ffn);
  }
  return {
    format: 'gguf',
    path: 'random weights',
    architecture: 'llama',
    parameters: Array.from(tensors.values()).reduce((sum, { byteLength }) => sum + byteLength / 4, 0),
    metadata: new Map<string, number>([
      ['llama.block_count', layers],
      ['llama.context_length', context],
      ['llama.embedding_length', width],
      ['llama.feed_forward_length', ffn],
      ['llama.attention.head_count', heads],
      ['llama.attention.head_count_kv', kvHeads],
      ['llama.attention.key_length', headDim],
      ['llama.attention.layer_norm_rms_epsilon', 1e-5],
      ['llama.rope.dimension_count', headDim],
      ['llama.rope.freq_base', 10_000],
    ]),
    tensors,
    read: async (name, rows) => {
      const { shape } = tensors.get(name) as TensorInfo;
      return randomTensor(roleOf(name), shape, rows);
    },
    checksum: async () => 'random weights',
    close: async () => {},
  };
}

/** Gains between 0.5 and 1.5; weights that keep the size of what they multiply. Each row has numbers of its own. */
function randomTensor(role: string, shape: readonly number[], rows?: readonly [from: number, to: number]) {
  const [from, to] = rows ?? [0, shape[0] as number];
  const inputs = shape[1] ?? 1;
  const scale = shape.length === 1 ? 1 : 2 * Math.sqrt(3 / inputs);
  const centre = shape.length === 1 ? 0 : 0.5;
  const offset = shape.length === 1 ? 0.5 : 0;
  const seed = Array.from(role).reduce((hash, letter) => Math.imul(hash, 31) + (letter.codePointAt(0) as number), 7);
  const numbers = new Float32Array((to - from) * inputs);
  for (let row = from, at = 0; row < to; row++) {
    // xorshift: good enough for weights that nobody reads, and fast. A state of 0 would stay there.
    let state = (Math.imul(seed ^ row, 0x9e3779b1) ^ (row << 7)) | 1;
    for (let input = 0; input < inputs; input++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      numbers[at++] = ((state >>> 0) / 2 ** 32 - centre) * scale + offset;
    }
  }
  return numbers;
}
