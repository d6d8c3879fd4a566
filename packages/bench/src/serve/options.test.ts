import { describe, expect, it } from 'vitest';
import { parseFlags } from '../flags.ts';
import { joinVattention } from '../vattentionFlag.ts';
import { repeatableServeArgs, serveArgs, serveOptions } from './command.ts';
import { resolveServeOptions, type ServeOptions } from './options.ts';

const optionsOf = (line: string) =>
  serveOptions(parseFlags(joinVattention(line.split(' ')), serveArgs, repeatableServeArgs));

describe('resolveServeOptions', () => {
  it('fills in its defaults', () => {
    expect(resolveServeOptions()).toMatchObject({
      concurrency: [1, 4, 8],
      arrivals: 'closed',
      policies: ['fixed', 'vattention'],
      vattention: {},
      precision: 'int8',
      kv: 'float32',
      output: 'serve.json',
    });
  });

  it.each<[ServeOptions, RegExp]>([
    [{ concurrency: [] }, /concurrency is empty/],
    [{ concurrency: [0] }, /concurrency must be a whole number from 1/],
    [{ arrivals: 'poisson:' }, /arrivals is 'poisson:'/],
    [{ arrivals: 'poisson:-1' }, /arrivals is/],
    [{ policies: ['other' as 'fixed'] }, /policy must be one of fixed-zeroed, fixed, grow-copy, vattention/],
    [{ policies: [] }, /policies is empty/],
    [{ kvBudgetBytes: 0 }, /kvBudgetBytes must be above 0/],
    [{ kv: 'int4' as 'int16' }, /kv must be one of float32, int16/],
    [{ newTokens: 1 }, /newTokens must be a whole number from 2/],
    [{ peers: ['transformers-js'] }, /transformers-js takes one request at a time/],
  ])('refuses %j', (options, message) => {
    expect(() => resolveServeOptions(options)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) }),
    );
  });
});

describe('serveOptions', () => {
  it('carries every flag over', () => {
    const line =
      '--model m.gguf --concurrency 1,4 --concurrency 8 --arrivals poisson:2.5 --requests 9 --trace t.jsonl --prompt-tokens 64 ' +
      '--new-tokens 32 --policy fixed --policy vattention --vattention reclaim=eager groupBytes=8192 prefixReuse=false ' +
      '--kv-budget-bytes 1e9 --kv int16 --context-length 2048 --slots 7 --threads 3 --precision float32 --seed 4 ' +
      '--peer node-llama-cpp --output o.json --no-plots';
    expect(optionsOf(line)).toEqual({
      model: 'm.gguf',
      concurrency: [1, 4, 8],
      arrivals: 'poisson:2.5',
      requests: 9,
      trace: 't.jsonl',
      promptTokens: 64,
      newTokens: 32,
      policies: ['fixed', 'vattention'],
      vattention: { reclaim: 'eager', groupBytes: 8192, prefixReuse: false },
      kvBudgetBytes: 1e9,
      kv: 'int16',
      contextLength: 2048,
      slots: 7,
      threads: 3,
      precision: 'float32',
      seed: 4,
      peers: ['node-llama-cpp'],
      output: 'o.json',
      plots: false,
    });
  });

  it('takes --vattention without options, and refuses what is none', () => {
    expect(optionsOf('--vattention --seed 1')).toMatchObject({ vattention: {}, seed: 1 });
    expect(optionsOf('--seed 1')).toMatchObject({ vattention: undefined });
    expect(() => optionsOf('--vattention eager')).toThrow(/Unexpected argument 'eager'/);
    expect(() => optionsOf('--vattention=eager')).toThrow(/--vattention has 'eager', which is not like option=value/);
  });
});
