import { describe, expect, it } from 'vitest';
import { repeatableSweepArgs, sweepArgs, sweepOptions } from './commands.ts';
import { parseFlags } from './flags.ts';
import { larosaChoice, larosaChoices, parseMethods } from './larosaFlags.ts';

const sweep = (...args: string[]) => sweepOptions(parseFlags(args, sweepArgs, repeatableSweepArgs));

describe('larosaChoices', () => {
  it('combines what the flags list, in their order', () => {
    expect(
      larosaChoices({ 'larosa-rotation': 'none,4', 'larosa-score': 'magnitude,weighted', 'larosa-values': true }),
    ).toEqual([
      { rotation: 'none', values: true, score: 'magnitude' },
      { rotation: 'none', values: true, score: 'weighted' },
      { rotation: 4, values: true, score: 'magnitude' },
      { rotation: 4, values: true, score: 'weighted' },
    ]);
    expect(larosaChoices({})).toEqual([{}]);
  });

  it('leaves a path in one piece', () => {
    expect(larosaChoices({ 'larosa-calibration': 'a, b.safetensors' })).toEqual([{ calibration: 'a, b.safetensors' }]);
  });

  it('is refused where there is room for one', () => {
    expect(larosaChoice({ 'larosa-score': 'weighted' })).toEqual({ score: 'weighted' });
    expect(() => larosaChoice({ 'larosa-score': 'weighted,magnitude' })).toThrow(/more than one combination/);
  });
});

describe('parseMethods', () => {
  it('reads options and names', () => {
    expect(parseMethods('name=the paper+rotation=layer+values=true, score=weighted+rotation=4')).toEqual([
      { name: 'the paper', options: { rotation: 'layer', values: true } },
      { options: { score: 'weighted', rotation: 4 } },
    ]);
  });

  it.each(['rotation', 'rotation=', '=layer', 'rotation=layer+', ''])('refuses %j', (text) => {
    expect(() => parseMethods(text)).toThrow(expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID' }));
  });
});

describe('sweepOptions', () => {
  it('takes the combinations of flags, methods, or both', async () => {
    expect((await sweep()).methods).toEqual([{ options: {} }]);
    expect((await sweep('--larosa-method', 'rotation=layer')).methods).toEqual([{ options: { rotation: 'layer' } }]);
    const both = await sweep(
      '--larosa-score',
      'magnitude',
      '--larosa-method',
      'name=a+rotation=layer',
      '--larosa-method',
      'values=true',
    );
    expect(both.methods).toEqual([
      { options: { score: 'magnitude' } },
      { name: 'a', options: { rotation: 'layer' } },
      { options: { values: true } },
    ]);
  });

  it('carries the others over', async () => {
    const line =
      '--larosa-sparsity 0,.5 --equal-bytes .25,.4 --quality-tokens 9 --text t.txt --peer node-llama-cpp --no-plots';
    expect(await sweep(...line.split(' '))).toMatchObject({
      sparsities: [0, 0.5],
      equalBytes: [0.25, 0.4],
      qualityTokens: 9,
      text: 't.txt',
      peers: ['node-llama-cpp'],
      plots: false,
    });
  });
});
