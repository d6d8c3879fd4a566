import { writeFile } from 'node:fs/promises';
import { defineConfig } from 'tsup';
import * as z from 'zod';
import { benchmarkResultSchema } from './src/benchmarkResult.ts';

export default defineConfig({
  entry: ['src/index.ts'],
  format: 'esm',
  dts: true,
  clean: true,
  target: 'es2023',
  async onSuccess() {
    const schema = z.toJSONSchema(benchmarkResultSchema, { io: 'input' });
    await writeFile('dist/benchmark-result.schema.json', `${JSON.stringify(schema, null, 2)}\n`);
  },
});
