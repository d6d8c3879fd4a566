// Writes a model, rewritten by a plugin, as ONNX. Run: node examples/onnx-export/export.mjs [model] [file] [sparsity]
import { createPipeline, wasm } from '@llmopt/core';
import { exportOnnx } from '@llmopt/core/onnx';
import { larosa } from '@llmopt/larosa';

const [model = 'smollm2-135m', file = 'model.onnx', sparsity = '0.4'] = process.argv.slice(2);

const plugins = [larosa({ sparsity: Number(sparsity) })];
await using pipeline = await createPipeline({ model, backend: wasm({ precision: 'float32' }), plugins });
const { files } = await exportOnnx(pipeline.graph, file);
console.log(`wrote ${files.join(' and ')}`);

const tokens = pipeline.tokenizer.encode('hello world');
const slot = pipeline.acquireSlot();
const { logits } = await pipeline.forward({
  tokens,
  slots: tokens.map(() => slot),
  positions: tokens.map((_, i) => i),
  logits: [tokens.length - 1],
});
const best = logits.indexOf(Math.max(...logits));
console.log(`behind tokens ${tokens.join(' ')} comes ${best}, with logit ${logits[best].toFixed(4)}`);
