import { writeFile } from 'node:fs/promises';
import { defineConfig } from 'tsup';
import * as z from 'zod';
import { benchmarkResultSchema } from './src/benchmarkResult.ts';
import { serveResultSchema } from './src/serveResult.ts';
import { sweepResultSchema } from './src/sweepResult.ts';

export default defineConfig({
  entry: ['src/index.ts'],
  format: 'esm',
  dts: true,
  clean: true,
  target: 'es2023',
  async onSuccess() {
    const schemas = {
      'benchmark-result': benchmarkResultSchema,
      'serve-result': serveResultSchema,
      'sweep-result': sweepResultSchema,
    };
    for (const [name, schema] of Object.entries(schemas)) {
      const text = JSON.stringify(z.toJSONSchema(schema, { io: 'input' }), null, 2);
      await writeFile(`dist/${name}.schema.json`, `${text}\n`);
    }
  },
});
