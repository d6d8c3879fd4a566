// Resident memory after each of some loads of a pipeline: node --expose-gc tools/reloads.mjs wasm|onnx|gpu [model] [loads]
import { setTimeout as sleep } from 'node:timers/promises';
import { createPipeline } from '../packages/core/dist/index.js';

const [name = 'wasm', model = 'smollm2-135m', loads = '5'] = process.argv.slice(2);
const entry = name === 'wasm' ? 'index' : name;
const backend = (await import(`../packages/core/dist/${entry}.js`))[name];

for (let load = 1; load <= Number(loads); load++) {
  const loaded = await loadAndDispose();
  for (let i = 0; i < 5; i++) {
    globalThis.gc();
    await sleep(100);
  }
  console.log(`${name} load ${load}: ${loaded} MB loaded, ${residentMegabytes()} MB after dispose`);
}

// A function of its own, so that nothing on the stack keeps the pipeline alive.
async function loadAndDispose() {
  const pipeline = await createPipeline({ model, backend: backend(), contextLength: 256 });
  await pipeline.generate('The sea is', { maxNewTokens: 4 });
  const loaded = residentMegabytes();
  await pipeline.dispose();
  return loaded;
}

function residentMegabytes() {
  return Math.round(process.memoryUsage.rss() / 1e6);
}
