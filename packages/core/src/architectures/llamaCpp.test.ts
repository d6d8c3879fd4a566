import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { expect, it } from 'vitest';
import { architectureFixtures, fixturePath, loadFixture } from '../../test/architectureFixtures.ts';

// That the GGUF files follow llama.cpp's conventions, and not just our reading of them.
it.each(architectureFixtures)('llama.cpp has the logits of transformers on the GGUF file of %s', async (name) => {
  const { tokens, expected, close } = await loadFixture(name, 'gguf');
  await close();
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: fixturePath(name, 'model.gguf') });
  const context = await model.createContext({ contextSize: 64 });
  // Not one token is filtered away, so that the probabilities are those of the logits.
  const options = { temperature: 1, topK: 0, topP: 1, minP: 0 };
  const outputs = await context
    .getSequence()
    .controlledEvaluate(
      tokens.map((token) => [token as Token, { generateNext: { token: true, probabilities: true, options } }]),
    );
  await llama.dispose();
  for (const [i, row] of expected.entries()) {
    const exponentials = row.map((logit) => Math.exp(logit - Math.max(...row)));
    const sum = exponentials.reduce((total, x) => total + x, 0);
    const { probabilities } = outputs[i]!.next;
    expect(probabilities!.size).toBe(row.length);
    // Keys and values in half precision.
    for (const [token, probability] of probabilities!) {
      expect(Math.abs(probability - exponentials[token]! / sum), `token ${token} behind ${i}`).toBeLessThan(0.003);
    }
  }
});
