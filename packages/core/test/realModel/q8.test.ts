import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { expect, it } from 'vitest';
import { wasm } from '../../src/backends/wasm/index.ts';
import { convertGguf, openGguf } from '../../src/checkpoint/index.ts';
import { forwardAlone } from '../backends.ts';
import { compileFile, realModelPath } from './model.ts';
import { parityFixture } from './parityFixture.ts';

it('writes a Q8_0 file that llama.cpp loads and agrees with on the top token', { timeout: 300_000 }, async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'llmopt-q8-'));
  try {
    const file = path.join(folder, 'model.Q8_0.gguf');
    const source = await openGguf(await realModelPath());
    await convertGguf(source, file, 'Q8_0');
    await source.close();
    const tokens = parityFixture().window(0);
    const theirs = await llamaTopTokens(file, tokens);
    const { executable, dispose } = await compileFile(file, wasm({ precision: 'float32' }));
    const ours = (await forwardAlone(executable, tokens, 64)).map((logits) => logits.indexOf(logits.reduce((a, b) => Math.max(a, b))));
    await dispose();
    const agree = ours.filter((token, i) => token === theirs[i]).length;
    console.log(`Q8_0 file: llama.cpp and float32 agree on ${agree} of ${tokens.length} top tokens`);
    // llama.cpp rounds activations to 8 bits: about three positions in a hundred are too close to call.
    expect(agree / tokens.length).toBeGreaterThanOrEqual(0.96);
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function llamaTopTokens(file: string, tokens: readonly number[]): Promise<number[]> {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: file });
  const context = await model.createContext({ contextSize: 1024 });
  const input = tokens.map((token) => [token as Token, { generateNext: { token: true, options: { temperature: 0 } } }] as const);
  const outputs = await context.getSequence().controlledEvaluate(input.map(([token, options]) => [token, options]));
  await llama.dispose();
  return outputs.map((output) => Number(output?.next.token));
}
