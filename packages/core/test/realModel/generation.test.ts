import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onnx } from '../../src/backends/onnx/index.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { createPipeline } from '../../src/pipeline/createPipeline.ts';
import type { Pipeline } from '../../src/pipeline/types.ts';

interface Case {
  prompt?: string;
  promptIds: number[];
  ids: number[];
  text: string;
  minMargin: number;
}

const { cases } = JSON.parse(readFileSync(new URL('../fixtures/greedy.json', import.meta.url), 'utf8')) as {
  cases: Case[];
};

const backends = { wasm: wasm({ precision: 'float32' }), onnx: onnx({ threads: 1 }) };

describe.each(Object.entries(backends))('greedy text in float32 on %s, against another framework', (_, backend) => {
  let pipeline: Pipeline;
  beforeAll(async () => {
    pipeline = await createPipeline({ model: 'smollm2-135m', backend, slots: 2, contextLength: 1024 });
  }, 120_000);
  afterAll(() => pipeline.dispose());

  // The closest call along the way is 0.05 in logits; float32 sums in another order differ by less than 1e-3.
  it.each(cases.map((one, i) => ({ ...one, i })))('case $i', async ({ promptIds, ids }) => {
    const { tokens } = await pipeline.generate(promptIds, { maxNewTokens: ids.length });
    // The fixture keeps the end token where there is one; a result does not.
    expect(tokens).toEqual(ids.filter((id) => !pipeline.tokenizer.stopTokens.has(id)));
  });
});
