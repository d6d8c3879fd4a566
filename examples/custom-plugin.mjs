// A plugin of one's own: a logits hook that never lets a token come twice in a row.
// Run: node examples/custom-plugin.mjs [model] [prompt]
import { createPipeline, definePlugin } from '@llmopt/core';

const noEcho = definePlugin({
  name: 'no-echo',
  version: '1.0.0',
  fidelity: 'approximate',
  logits(logits, sequence) {
    logits[sequence.tokens.at(-1)] = -Infinity;
  },
});

const [model = 'smollm2-135m', prompt = 'The best thing about rain is'] = process.argv.slice(2);
await using pipeline = await createPipeline({ model, plugins: [noEcho] });
const { text } = await pipeline.generate(prompt, { maxNewTokens: 48 });
console.log(prompt + text);
