import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';
import type { ModelConfig } from '../graph/graph.ts';

// Far above any real model, far below what would exhaust memory through a graph or a table alone.
const limits: Record<string, number> = { block_count: 1_000, context_length: 16_777_216 };

/**
 * The sizes that all decoder architectures share, from `<architecture>.*` metadata, and a reader for the rest.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID
 */
export function readConfig(checkpoint: Checkpoint) {
  const { architecture } = checkpoint;
  function number(field: string, fallback?: number): number {
    const name = `${architecture}.${field}`;
    const value = checkpoint.metadata.get(name) ?? fallback;
    const where = { file: checkpoint.path, field: name };
    if (value === undefined) {
      throw new LlmoptError('LLMOPT_METADATA_MISSING', `${checkpoint.path} has no metadata field "${name}".`, {
        where,
        hint: 'The file is incomplete; convert it again.',
      });
    }
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0 || value > (limits[field] ?? 2 ** 31)) {
      throw new LlmoptError(
        'LLMOPT_METADATA_INVALID',
        `"${name}" of ${checkpoint.path} is ${JSON.stringify(value)}; a positive number in a sensible range was expected.`,
        { where },
      );
    }
    return value;
  }
  function count(field: string, fallback?: number): number {
    const value = number(field, fallback);
    if (Number.isInteger(value)) return value;
    throw new LlmoptError(
      'LLMOPT_METADATA_INVALID',
      `"${architecture}.${field}" of ${checkpoint.path} is ${value}; a whole number was expected.`,
    );
  }

  const width = count('embedding_length');
  const heads = count('attention.head_count');
  const kvHeads = count('attention.head_count_kv', heads);
  const headDim = count('attention.key_length', width / heads);
  const embedding = checkpoint.tensors.get('token_embd.weight');
  if (heads % kvHeads !== 0) {
    throw new LlmoptError(
      'LLMOPT_METADATA_INVALID',
      `${checkpoint.path} has ${heads} heads, which cannot share ${kvHeads} KV heads evenly.`,
    );
  }
  const config: ModelConfig = {
    architecture,
    layers: count('block_count'),
    width,
    heads,
    kvHeads,
    headDim,
    vocabularySize: embedding?.shape[0] ?? count('vocab_size'),
    contextLength: count('context_length'),
  };
  return { config, number };
}
