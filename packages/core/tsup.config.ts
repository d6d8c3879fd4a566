import { defineConfig } from 'tsup';

const exported = {
  index: 'src/index.ts',
  gpu: 'src/backends/gpu/index.ts',
  onnx: 'src/backends/onnx/index.ts',
  testing: 'src/testing/index.ts',
};

export default defineConfig({
  // Flat: the backend looks for worker.js beside itself.
  entry: { ...exported, worker: 'src/backends/wasm/worker.ts' },
  format: 'esm',
  target: 'node22',
  dts: { entry: exported },
  clean: true,
  // V8 keeps sources of one byte per character at half the size.
  esbuildOptions(options) {
    options.charset = 'ascii';
  },
});
