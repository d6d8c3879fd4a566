import { describe, expect, it } from 'vitest';
import { benchArgs, benchmarkOptions, repeatableArgs } from './commands.ts';
import { parseFlags } from './flags.ts';

const options = (...args: string[]) => benchmarkOptions(parseFlags(args, benchArgs, repeatableArgs));

describe('benchmarkOptions', () => {
  it('leaves out what was not said, so that the defaults are in one place', async () => {
    const said = Object.entries(await options()).filter(([, value]) => value !== undefined);
    expect(said).toEqual([
      ['larosa', {}],
      ['profile', false],
    ]);
  });

  it('carries every flag over', async () => {
    const line =
      '--model m.gguf --larosa-sparsity .5 --larosa-rotation 4 --larosa-values --larosa-score weighted --max-new-tokens 9 --runs 2 --warmup 0 --threads 3 --seed 4 --backend wasm ' +
      '--precision float32 --quality t.txt --quality-tokens 77 --peer transformers-js --profile --output o.json --plots p';
    expect(await options(...line.split(' '))).toEqual({
      model: 'm.gguf',
      larosaSparsity: 0.5,
      larosa: { rotation: 4, values: true, score: 'weighted' },
      maxNewTokens: 9,
      runs: 2,
      warmup: 0,
      threads: 3,
      seed: 4,
      backend: 'wasm',
      precision: 'float32',
      quality: 't.txt',
      qualityTokens: 77,
      peers: ['transformers-js'],
      profile: true,
      output: 'o.json',
      plots: 'p',
    });
  });

  it('takes peers one by one or as a list', async () => {
    const peers = ['node-llama-cpp', 'transformers-js'];
    expect(await options('--peer', 'node-llama-cpp', '--peer', 'transformers-js')).toMatchObject({ peers });
    expect(await options('--peer', 'node-llama-cpp, transformers-js')).toMatchObject({ peers });
  });

  it('switches quality and charts off', async () => {
    expect(await options('--no-quality', '--no-plots')).toMatchObject({ quality: false, plots: false });
  });

  it('refuses contradictions', async () => {
    await expect(options('--plots', 'a', '--no-plots')).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining('--plots and --no-plots contradict each other'),
    });
  });
});
