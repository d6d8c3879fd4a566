import fc from 'fast-check';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';
import { expect, it } from 'vitest';
import { fixturePath, openFixture } from '../../test/architectureFixtures.ts';
import { tokenizerFromGguf } from './fromGguf.ts';

// What splitting gets wrong shows where a merge would cross the border of two words: digits, spaces and line ends, contractions.
const piece = fc.constantFrom(
  ...[
    'the',
    ' the',
    'The',
    'hello',
    ' world',
    '12',
    ' 12',
    '1',
    ' ',
    '  ',
    '\n',
    '\n\n',
    '\r\n',
    '\t',
    ' \n',
    '.',
    ',the',
    '(th',
  ],
  ...["'s", "'S", "'ll", "'LL", "don't", 'é', '日本', ' ü', '…\n', '½', '😀', '  \n  the', 'in', 'er', '_on'],
);

// llama: smollm, phi: gpt-2, qwen2: qwen2.
it.each(['llama', 'phi', 'qwen2'] as const)('splits words as llama.cpp does on the GGUF file of %s', async (name) => {
  const checkpoint = await openFixture(name, 'gguf');
  const tokenizer = tokenizerFromGguf(checkpoint);
  await checkpoint.close();
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
  try {
    const model = await llama.loadModel({ modelPath: fixturePath(name, 'model.gguf'), vocabOnly: true });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (pieces) => {
        const text = pieces.join('');
        const ids = tokenizer.encode(text);
        expect(ids).toEqual(model.tokenize(text, false));
        expect(tokenizer.decode(ids)).toBe(text);
      }),
      { numRuns: 400 },
    );
  } finally {
    await llama.dispose();
  }
});
