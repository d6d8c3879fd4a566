// Exports a model as ONNX with the logits of the reference backend beside it, for onnx-check.py to compare.
// node tools/onnx-check.mjs MODEL FOLDER [SPARSITY]
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createPipeline } from '@llmopt/core';
import { exportOnnx } from '@llmopt/core/onnx';
import { larosa } from '@llmopt/larosa';

const [model, folder, sparsity = '0'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });
const plugins = Number(sparsity) > 0 ? [larosa({ sparsity: Number(sparsity) })] : [];
await using pipeline = await createPipeline({ model, backend: 'reference', plugins, slots: 1 });
const tokens = pipeline.tokenizer.encode('hello world, and what the others say about it: ').slice(0, 16);
const slot = pipeline.acquireSlot();
const rows = tokens.map((_, i) => i);
const { logits } = await pipeline.forward({ tokens, slots: rows.map(() => slot), positions: rows, logits: rows });
const { files, byteLength, opset } = await exportOnnx(pipeline.graph, path.join(folder, 'model.onnx'));
await writeFile(path.join(folder, 'tokens.json'), JSON.stringify(tokens));
await writeFile(path.join(folder, 'logits.bin'), logits);
console.log(`${files.join(', ')}: ${byteLength} bytes, opset ${opset}`);
