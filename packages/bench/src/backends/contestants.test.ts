import { describe, expect, it } from 'vitest';
import { armOf, contestantsOf } from './contestants.ts';

describe('contestants', () => {
  it('are all backends, with the threads of those that have any', () => {
    expect(contestantsOf({ threads: 3 }).map(({ title, backend }) => [title, backend])).toEqual([
      ['wasm int8', { name: 'wasm', threads: 3, precision: 'int8' }],
      ['wasm float32', { name: 'wasm', threads: 3, precision: 'float32' }],
      ['onnx float32', { name: 'onnx', threads: 3 }],
      ['gpu', { name: 'gpu' }],
      ['reference', { name: 'reference' }],
    ]);
  });

  it('all run with LaRoSA, or all without, the reference too', () => {
    for (const contestant of contestantsOf({ threads: undefined })) {
      expect(armOf(contestant, { larosaSparsity: undefined }, 'm.gguf').plugins).toEqual([]);
      expect(armOf(contestant, { larosaSparsity: 0.4 }, 'm.gguf')).toMatchObject({
        model: 'm.gguf',
        plugins: [{ name: 'larosa', options: { sparsity: 0.4 } }],
      });
    }
  });
});
