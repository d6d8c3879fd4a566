import { defineConfig } from 'tsup';

export default defineConfig({
  // Flat: the backend looks for worker.js beside itself.
  entry: { index: 'src/index.ts', testing: 'src/testing/index.ts', worker: 'src/backends/wasm/worker.ts' },
  format: 'esm',
  target: 'node22',
  dts: { entry: { index: 'src/index.ts', testing: 'src/testing/index.ts' } },
  clean: true,
});
