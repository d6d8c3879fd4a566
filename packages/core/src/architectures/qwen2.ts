import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Graph } from '../graph/graph.ts';
import { decoder } from './decoder.ts';
import { ggufGated, transformersGated } from './llama.ts';
import { type Formats, isBelow, type Metadata, type Variant } from './names.ts';
import { openSource } from './source.ts';

const does = 'lets the tokens of some layers see a window of those before them only';

const isNarrow = (metadata: Metadata) =>
  isBelow(metadata.get('sliding_window') ?? 4096, metadata.get('max_position_embeddings'));

// Newer files list the kind of each layer; in older ones the layers from max_window_layers on have the window.
const windows: readonly Variant[] = [
  {
    field: 'layer_types',
    does,
    when: (types, metadata) =>
      isNarrow(metadata) && Array.isArray(types) && types.some((type) => type !== 'full_attention'),
  },
  {
    field: 'use_sliding_window',
    does,
    when: (used, metadata) =>
      used === true &&
      isNarrow(metadata) &&
      isBelow(metadata.get('max_window_layers') ?? 28, metadata.get('num_hidden_layers')),
  },
];

const formats: Formats = {
  gguf: ggufGated,
  safetensors: () => ({ ...transformersGated, variants: [...transformersGated.variants, ...windows] }),
};

/**
 * Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID, LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE, LLMOPT_ARCHITECTURE_UNSUPPORTED
 */
export function qwen2(checkpoint: Checkpoint): Graph {
  return decoder(openSource(checkpoint, formats), { bias: true });
}
