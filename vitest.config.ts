import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (name: string) => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      // Before the package itself, which is a prefix of it.
      '@llmopt/core/onnx': fileURLToPath(new URL('packages/core/src/backends/onnx/index.ts', import.meta.url)),
      '@llmopt/core/gpu': fileURLToPath(new URL('packages/core/src/backends/gpu/index.ts', import.meta.url)),
      '@llmopt/core/testing': fileURLToPath(new URL('packages/core/src/testing/index.ts', import.meta.url)),
      ...Object.fromEntries(
        ['core', 'larosa', 'vattention', 'schema', 'viz', 'bench'].map((name) => [`@llmopt/${name}`, source(name)]),
      ),
    },
  },
  test: {
    include: ['packages/*/{src,test}/**/*.test.ts', 'examples/**/*.test.ts', 'tools/**/*.test.mjs'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: ['default', './tools/vitest-summary.mjs'],
  },
});
