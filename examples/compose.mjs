// A pipeline with a plugin, streamed. Run: node examples/compose.mjs [model] [prompt]
import { createPipeline } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';

const [model = 'smollm2-135m', prompt = 'Name three rivers in Europe.'] = process.argv.slice(2);

await using pipeline = await createPipeline({ model, plugins: [larosa({ sparsity: 0.25 })] });
const answer = pipeline.chat([{ role: 'user', content: prompt }], { maxNewTokens: 64 });
for await (const piece of answer) process.stdout.write(piece);

const { usage, timings } = await answer.result;
console.log(`\n\n${usage.outputTokens} tokens, ${timings.timePerOutputTokenMs.toFixed(1)} ms per token`);
