import { defineConfig } from 'tsup';

export default defineConfig({
  // Flat: the backend looks for worker.js beside itself.
  entry: { index: 'src/index.ts', worker: 'src/backends/wasm/worker.ts' },
  format: 'esm',
  target: 'node22',
  dts: { entry: { index: 'src/index.ts' } },
  clean: true,
  // V8 keeps sources of one byte per character at half the size.
  esbuildOptions(options) {
    options.charset = 'ascii';
  },
});
