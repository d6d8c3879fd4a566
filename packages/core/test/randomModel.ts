import type { Checkpoint, TensorInfo } from '../src/checkpoint/checkpoint.ts';
import { seededRandom } from '../src/pipeline/random.ts';

export interface RandomModelSizes {
  seed: number;
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  ffn: number;
  vocabulary: number;
  context: number;
  untied: boolean;
}

/** A Llama checkpoint in memory with random weights of a sensible scale, for any sizes. */
export function randomModel(sizes: Partial<RandomModelSizes> = {}): Checkpoint {
  const { seed, layers, width, heads, kvHeads, headDim, ffn, vocabulary, context, untied }: RandomModelSizes = {
    ...{
      seed: 1,
      layers: 2,
      width: 48,
      heads: 4,
      kvHeads: 2,
      headDim: 12,
      ffn: 80,
      vocabulary: 101,
      context: 64,
      untied: false,
    },
    ...sizes,
  };
  const shapes: [string, number[]][] = [
    ['token_embd.weight', [vocabulary, width]],
    ['output_norm.weight', [width]],
  ];
  if (untied) shapes.push(['output.weight', [vocabulary, width]]);
  for (let layer = 0; layer < layers; layer++) {
    shapes.push(
      [`blk.${layer}.attn_norm.weight`, [width]],
      [`blk.${layer}.attn_q.weight`, [heads * headDim, width]],
      [`blk.${layer}.attn_k.weight`, [kvHeads * headDim, width]],
      [`blk.${layer}.attn_v.weight`, [kvHeads * headDim, width]],
      [`blk.${layer}.attn_output.weight`, [width, heads * headDim]],
      [`blk.${layer}.ffn_norm.weight`, [width]],
      [`blk.${layer}.ffn_gate.weight`, [ffn, width]],
      [`blk.${layer}.ffn_up.weight`, [ffn, width]],
      [`blk.${layer}.ffn_down.weight`, [width, ffn]],
    );
  }
  const random = seededRandom(seed);
  const data = new Map<string, Float32Array>();
  const tensors = new Map<string, TensorInfo>();
  for (const [name, shape] of shapes) {
    const length = shape.reduce((product, size) => product * size, 1);
    const scale = shape.length === 1 ? 0 : 1.7 / Math.sqrt(shape[1]!);
    data.set(
      name,
      Float32Array.from({ length }, () =>
        shape.length === 1 ? 0.5 + random() : (random() + random() + random() - 1.5) * 2 * scale,
      ),
    );
    tensors.set(name, { name, shape, type: 'F32', byteLength: length * 4 });
  }
  return {
    format: 'gguf',
    path: 'random.gguf',
    architecture: 'llama',
    parameters: [...data.values()].reduce((sum, tensor) => sum + tensor.length, 0),
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
      const width = tensors.get(name)!.shape[1] ?? 1;
      return rows ? data.get(name)!.slice(rows[0] * width, rows[1] * width) : data.get(name)!.slice();
    },
    checksum: async () => `random ${JSON.stringify(sizes)}`,
    close: async () => {},
  };
}
