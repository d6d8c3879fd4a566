// Resident memory after each of some loads of a pipeline: node --expose-gc tools/reloads.mjs wasm|onnx|gpu [model] [loads]
//
// Two figures after each dispose: as the process stands, and with the free memory that V8 and the C library keep for
// later given back, as far as they can: what is left then is held by somebody.
import ffi from 'node:ffi';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPipeline } from '../packages/core/dist/index.js';

const [name = 'wasm', model = 'smollm2-135m', loads = '5'] = process.argv.slice(2);
const entry = name === 'wasm' ? 'index' : name;
const backend = (await import(`../packages/core/dist/${entry}.js`))[name];
const { malloc_trim: trim } = ffi.dlopen('libc.so.6', { malloc_trim: { arguments: ['u64'], return: 'i32' } }).functions;

for (let load = 1; load <= Number(loads); load++) {
  const loaded = await loadAndDispose();
  await collect({ type: 'major', execution: 'sync' });
  const resting = residentMegabytes();
  await collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  trim(0n);
  console.log(`${name} load ${load}: ${loaded} MB loaded, ${resting} MB after dispose, ${residentMegabytes()} MB held`);
}

async function collect(how) {
  for (let i = 0; i < 5; i++) {
    globalThis.gc(how);
    await sleep(100);
  }
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
