import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { checkGraph } from '../graph/check.ts';
import { randomModel } from '../testing/randomModel.ts';
import { buildGraph } from './index.ts';

const model = randomModel();
const withMetadata = (field: string, value: unknown): Checkpoint => ({
  ...model,
  metadata: new Map([...model.metadata, [field, value as number]]),
});
const without = (name: string): Checkpoint => {
  const metadata = new Map(model.metadata);
  const tensors = new Map(model.tensors);
  metadata.delete(name);
  tensors.delete(name);
  return { ...model, metadata, tensors };
};

describe('buildGraph', () => {
  it('reads no tensor', () => {
    const silent: Checkpoint = { ...model, read: () => Promise.reject(new Error('a tensor was read')) };
    expect(checkGraph(buildGraph(silent)).size).toBeGreaterThan(30);
  });

  it('takes the head of its own where the file has one', () => {
    const head = (checkpoint: Checkpoint) => buildGraph(checkpoint).ops.at(-1)!.params;
    expect(head(model)).toEqual({ weight: 'token_embd.weight' });
    expect(head(randomModel({ untied: true }))).toEqual({ weight: 'output.weight' });
  });

  it.each<[string, Checkpoint, string, RegExp]>([
    [
      'an unknown architecture',
      { ...model, architecture: 'hal9000' },
      'LLMOPT_ARCHITECTURE_UNKNOWN',
      /"hal9000", which is not known\. Known architectures: llama/,
    ],
    [
      'a name that every object has',
      { ...model, architecture: 'constructor' },
      'LLMOPT_ARCHITECTURE_UNKNOWN',
      /constructor/,
    ],
    ['a missing tensor', without('blk.1.ffn_up.weight'), 'LLMOPT_TENSOR_MISSING', /no tensor "blk\.1\.ffn_up\.weight"/],
    ['a missing field', without('llama.block_count'), 'LLMOPT_METADATA_MISSING', /llama\.block_count/],
    [
      'a tensor of another shape',
      withMetadata('llama.feed_forward_length', 81),
      'LLMOPT_TENSOR_SHAPE',
      /blk\.0\.ffn_gate\.weight.*\[80,48\].*\[81,48\]/,
    ],
    ['a huge number of layers', withMetadata('llama.block_count', 1e9), 'LLMOPT_METADATA_INVALID', /block_count/],
    ['half a head', withMetadata('llama.attention.head_count', 4.5), 'LLMOPT_METADATA_INVALID', /whole number/],
    ['text for a number', withMetadata('llama.attention.head_count', 'four'), 'LLMOPT_METADATA_INVALID', /"four"/],
    [
      'heads that do not share evenly',
      withMetadata('llama.attention.head_count_kv', 3),
      'LLMOPT_METADATA_INVALID',
      /share 3 KV heads/,
    ],
    [
      'scaled rotary positions',
      withMetadata('llama.rope.scaling.type', 'yarn'),
      'LLMOPT_ARCHITECTURE_UNSUPPORTED',
      /variant of llama.*scales its rotary positions \("llama\.rope\.scaling\.type" is "yarn"\)/,
    ],
  ])('refuses %s', (_, checkpoint, code, message) => {
    expect(() => buildGraph(checkpoint)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
