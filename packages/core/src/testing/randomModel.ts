import { buildGraph } from '../architectures/index.ts';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.ts';
import type { Graph } from '../graph/graph.ts';
import { seededRandom } from '../pipeline/random.ts';

export interface RandomModelSizes {
  architecture: 'llama' | 'phi2' | 'qwen2';
  seed: number;
  layers: number;
  width: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Leading dimensions of a head that turn; even. Default: all of Llama and Qwen2, half of Phi. */
  rotaryDim: number | undefined;
  ffn: number;
  vocabulary: number;
  context: number;
  /** A head of its own; Phi has one in any case. */
  untied: boolean;
}

const defaults: RandomModelSizes = {
  architecture: 'llama',
  seed: 1,
  layers: 2,
  width: 48,
  heads: 4,
  kvHeads: 2,
  headDim: 12,
  rotaryDim: undefined,
  ffn: 80,
  vocabulary: 101,
  context: 64,
  untied: false,
};

/** A checkpoint in memory, named as llama.cpp does, with random weights of a sensible scale, for any sizes. */
export function randomModel(options: Partial<RandomModelSizes> = {}): Checkpoint {
  const sizes = { ...defaults, ...options };
  const { architecture, headDim } = sizes;
  const shapes = tensorShapes(sizes);
  let numbers: ReadonlyMap<string, Float32Array> | undefined;
  const data = (name: string) => {
    numbers ??= tensorNumbers(shapes, sizes.seed);
    return numbers.get(name)!;
  };
  const tensors = new Map<string, TensorInfo>(
    shapes.map(([name, shape]) => [name, { name, shape, type: 'F32', byteLength: lengthOf(shape) * 4 }]),
  );
  const epsilon = architecture === 'phi2' ? 'layer_norm_epsilon' : 'layer_norm_rms_epsilon';
  return {
    format: 'gguf',
    path: 'random.gguf',
    architecture,
    parameters: shapes.reduce((sum, [, shape]) => sum + lengthOf(shape), 0),
    metadata: new Map<string, number>([
      [`${architecture}.block_count`, sizes.layers],
      [`${architecture}.context_length`, sizes.context],
      [`${architecture}.embedding_length`, sizes.width],
      [`${architecture}.feed_forward_length`, sizes.ffn],
      [`${architecture}.attention.head_count`, sizes.heads],
      [`${architecture}.attention.head_count_kv`, sizes.kvHeads],
      [`${architecture}.attention.key_length`, headDim],
      [`${architecture}.attention.${epsilon}`, 1e-5],
      [
        `${architecture}.rope.dimension_count`,
        sizes.rotaryDim ?? (architecture === 'phi2' ? Math.ceil(headDim / 4) * 2 : headDim),
      ],
      [`${architecture}.rope.freq_base`, 10_000],
    ]),
    tensors,
    read: async (name, rows) => {
      const width = tensors.get(name)!.shape[1] ?? 1;
      return rows ? data(name).slice(rows[0] * width, rows[1] * width) : data(name).slice();
    },
    checksum: async () => `random ${JSON.stringify(options)}`,
    close: async () => {},
  };
}

type Shapes = [name: string, shape: number[]][];

const lengthOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

function tensorNumbers(shapes: Shapes, seed: number): Map<string, Float32Array> {
  const random = seededRandom(seed);
  return new Map(
    shapes.map(([name, shape]) => {
      const scale = 3.4 / Math.sqrt(shape[1] ?? 1);
      const number = name.endsWith('.bias')
        ? () => random() - 0.5
        : shape.length === 1
          ? () => 0.5 + random()
          : () => (random() + random() + random() - 1.5) * scale;
      return [name, Float32Array.from({ length: lengthOf(shape) }, number)];
    }),
  );
}

function tensorShapes({
  architecture,
  layers,
  width,
  heads,
  kvHeads,
  headDim,
  ffn,
  vocabulary,
  untied,
}: RandomModelSizes) {
  const phi = architecture === 'phi2';
  const linear = (name: string, outputs: number, inputs: number, bias: boolean): Shapes => [
    [`${name}.weight`, [outputs, inputs]],
    ...(bias ? ([[`${name}.bias`, [outputs]]] satisfies Shapes) : []),
  ];
  const norm = (name: string): Shapes => [
    [`${name}.weight`, [width]],
    ...(phi ? ([[`${name}.bias`, [width]]] satisfies Shapes) : []),
  ];
  const shapes: Shapes = [['token_embd.weight', [vocabulary, width]], ...norm('output_norm')];
  if (untied || phi) shapes.push(...linear('output', vocabulary, width, phi));
  const projected = phi || architecture === 'qwen2';
  for (let layer = 0; layer < layers; layer++) {
    const at = `blk.${layer}`;
    shapes.push(
      ...norm(`${at}.attn_norm`),
      ...linear(`${at}.attn_q`, heads * headDim, width, projected),
      ...linear(`${at}.attn_k`, kvHeads * headDim, width, projected),
      ...linear(`${at}.attn_v`, kvHeads * headDim, width, projected),
      ...linear(`${at}.attn_output`, width, heads * headDim, phi),
      ...(phi ? [] : [...norm(`${at}.ffn_norm`), ...linear(`${at}.ffn_gate`, ffn, width, false)]),
      ...linear(`${at}.ffn_up`, ffn, width, phi),
      ...linear(`${at}.ffn_down`, width, ffn, phi),
    );
  }
  return shapes;
}

/** The graph of `randomModel`. */
export function randomGraph(sizes: Partial<RandomModelSizes> = {}): Graph {
  return buildGraph(randomModel(sizes));
}
