import { buildGraph, type Checkpoint, type Graph, type TensorInfo, withParams } from '@llmopt/core';

/** Sizes of a model. */
export interface ModelShape {
  /** A Llama whose head is its embedding (default), or a Phi. */
  architecture?: 'llama' | 'phi2';
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Numbers of a head that turn with the position. Default: all. */
  rotaryDim?: number;
  ffn: number;
  layers: number;
  vocabulary: number;
}

/** Shapes that can be measured without a checkpoint. */
export const shapes = {
  '135m': { width: 576, heads: 9, kvHeads: 3, headDim: 64, ffn: 1536, layers: 30, vocabulary: 49_152 },
  '1b': { width: 2048, heads: 32, kvHeads: 4, headDim: 64, ffn: 5632, layers: 22, vocabulary: 32_000 },
  'phi-2': {
    ...{ architecture: 'phi2', width: 2560, heads: 32, kvHeads: 32, headDim: 80, rotaryDim: 32 },
    ...{ ffn: 10_240, layers: 32, vocabulary: 51_200 },
  },
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

/** A checkpoint with the names of GGUF files and numbers that are made when they are read. */
export function randomCheckpoint(shape: ModelShape): Checkpoint {
  const { architecture = 'llama', width, heads, kvHeads, headDim, rotaryDim = headDim, ffn, layers } = shape;
  const tensors = tensorsOf(shape);
  const epsilon = architecture === 'llama' ? 'layer_norm_rms_epsilon' : 'layer_norm_epsilon';
  return {
    format: 'gguf',
    path: 'random weights',
    architecture,
    parameters: Array.from(tensors.values()).reduce((sum, { byteLength }) => sum + byteLength / 4, 0),
    metadata: new Map<string, number>([
      [`${architecture}.block_count`, layers],
      [`${architecture}.context_length`, context],
      [`${architecture}.embedding_length`, width],
      [`${architecture}.feed_forward_length`, ffn],
      [`${architecture}.attention.head_count`, heads],
      [`${architecture}.attention.head_count_kv`, kvHeads],
      [`${architecture}.attention.key_length`, headDim],
      [`${architecture}.attention.${epsilon}`, 1e-5],
      [`${architecture}.rope.dimension_count`, rotaryDim],
      [`${architecture}.rope.freq_base`, 10_000],
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

function tensorsOf({ architecture, width, heads, kvHeads, headDim, ffn, layers, vocabulary }: ModelShape) {
  const tensors = new Map<string, TensorInfo>();
  const add = (name: string, ...shape: number[]) => {
    const byteLength = 4 * shape.reduce((product, size) => product * size, 1);
    tensors.set(name, { name, shape, type: 'F32', byteLength });
  };
  // Phi has biases everywhere, also of its norms.
  const phi = architecture === 'phi2';
  const norm = (name: string) => {
    add(`${name}.weight`, width);
    if (phi) add(`${name}.bias`, width);
  };
  const linear = (name: string, outputs: number, inputs: number) => {
    add(`${name}.weight`, outputs, inputs);
    if (phi) add(`${name}.bias`, outputs);
  };
  add('token_embd.weight', vocabulary, width);
  norm('output_norm');
  if (phi) linear('output', vocabulary, width);
  for (let layer = 0; layer < layers; layer++) {
    const of = (name: string) => `blk.${layer}.${name}`;
    norm(of('attn_norm'));
    linear(of('attn_q'), heads * headDim, width);
    linear(of('attn_k'), kvHeads * headDim, width);
    linear(of('attn_v'), kvHeads * headDim, width);
    linear(of('attn_output'), width, heads * headDim);
    if (!phi) {
      norm(of('ffn_norm'));
      linear(of('ffn_gate'), ffn, width);
    }
    linear(of('ffn_up'), ffn, width);
    linear(of('ffn_down'), width, ffn);
  }
  return tensors;
}

/** Gains around 1 and biases around 0, by at most 0.5; weights that keep the size of what they multiply. Each row has numbers of its own. */
function randomTensor(role: string, shape: readonly number[], rows?: readonly [from: number, to: number]) {
  const [from, to] = rows ?? [0, shape[0] as number];
  const inputs = shape[1] ?? 1;
  const scale = shape.length === 1 ? 1 : 2 * Math.sqrt(3 / inputs);
  const centre = shape.length === 1 && !role.endsWith('.bias') ? 1 : 0;
  const seed = Array.from(role).reduce((hash, letter) => Math.imul(hash, 31) + (letter.codePointAt(0) as number), 7);
  const numbers = new Float32Array((to - from) * inputs);
  for (let row = from, at = 0; row < to; row++) {
    // xorshift: good enough for weights that nobody reads, and fast. A state of 0 would stay there.
    let state = (Math.imul(seed ^ row, 0x9e3779b1) ^ (row << 7)) | 1;
    for (let input = 0; input < inputs; input++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      numbers[at++] = ((state >>> 0) / 2 ** 32 - 0.5) * scale + centre;
    }
  }
  return numbers;
}
