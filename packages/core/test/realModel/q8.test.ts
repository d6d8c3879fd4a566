import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { getLlama, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { expect, it } from 'vitest';
import { wasm } from '../../src/backends/wasm/index.ts';
import { convertGguf, openGguf } from '../../src/checkpoint/index.ts';
import { largestIndex } from '../../src/pipeline/sampler.ts';
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
    const { windows, window } = parityFixture();
    const sequences = Array.from({ length: windows }, (_, i) => window(i));
    const theirs = await llamaTopTokens(file, sequences);
    const { executable, dispose } = await compileFile(file, wasm({ precision: 'float32' }));
    const ours: number[] = [];
    for (const tokens of sequences) ours.push(...(await forwardAlone(executable, tokens, 64)).map(largestIndex));
    await dispose();
    const agree = ours.filter((token, i) => token === theirs[i]).length;
    console.log(`Q8_0 file: llama.cpp and float32 agree on ${agree} of ${ours.length} top tokens`);
    // llama.cpp rounds activations to 8 bits: about three positions in a hundred are too close to call.
    expect(agree / ours.length).toBeGreaterThanOrEqual(0.96);
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** The tokens that llama.cpp puts first, behind every position of every sequence. */
async function llamaTopTokens(file: string, sequences: readonly number[][]): Promise<number[]> {
  const llama = await getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error });
  const model = await llama.loadModel({ modelPath: file });
  const tops: number[] = [];
  for (const tokens of sequences) {
    const context = await model.createContext({ contextSize: 1024 });
    const outputs = await context
      .getSequence()
      .controlledEvaluate(
        tokens.map((token) => [token as Token, { generateNext: { token: true, options: { temperature: 0 } } }]),
      );
    tops.push(...outputs.map((output) => Number(output?.next.token)));
    await context.dispose();
  }
  await llama.dispose();
  return tops;
}
