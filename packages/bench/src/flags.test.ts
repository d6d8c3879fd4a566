import { describe, expect, it } from 'vitest';
import { numberFlag, numberListFlag, parseFlags, textFlag } from './flags.ts';

const definitions = {
  model: { type: 'string' },
  runs: { type: 'string' },
  profile: { type: 'boolean' },
  'no-plots': { type: 'boolean' },
} as const;

const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message: expect.stringMatching(message) });

describe('parseFlags', () => {
  it('reads values and switches', () => {
    expect(parseFlags(['--model', 'a.gguf', '--runs=3', '--profile', '--no-plots'], definitions).values).toEqual({
      model: 'a.gguf',
      runs: '3',
      profile: true,
      'no-plots': true,
    });
  });

  it('joins what a repeatable flag says, and takes the last of any other', () => {
    const args = ['--model', 'a', '--runs', '1', '--model', 'b', '--runs', '2'];
    expect(parseFlags(args, definitions, ['model']).values).toEqual({ model: 'a,b', runs: '2' });
  });

  it.each([
    [['--modle', 'x'], /--modle/],
    [['--model'], /--model/],
    [['--profile=yes'], /--profile/],
    [['--no-model'], /--no-model/],
    [['stray'], /Unexpected argument 'stray'/],
    [['-x'], /-x/],
  ])('refuses %j with one clear error', (args, message) => {
    expect(() => parseFlags(args, definitions)).toThrow(invalid(message));
  });

  it('wants as many words as are declared', () => {
    const withWords = { a: { type: 'positional' }, b: { type: 'positional' } } as const;
    expect(parseFlags(['x', 'y'], withWords).positionals).toEqual(['x', 'y']);
    expect(() => parseFlags(['x'], withWords)).toThrow(invalid(/Missing argument B/));
  });
});

describe('numberFlag', () => {
  it.each(['abc', '', '1,5', '0x10', 'Infinity', '1 2'])('refuses %j', (text) => {
    expect(() => numberFlag({ runs: text }, 'runs')).toThrow(invalid(/--runs must be a number/));
  });

  it.each([
    ['3', 3],
    ['-2', -2],
    ['.5', 0.5],
    ['1e3', 1000],
  ])('reads %j', (text, value) => {
    expect(numberFlag({ runs: text }, 'runs')).toBe(value);
  });

  it('is undefined without the flag', () => {
    expect(numberFlag({}, 'runs')).toBeUndefined();
  });
});

describe('textFlag', () => {
  it('refuses an empty value', () => {
    expect(() => textFlag({ model: '' }, 'model')).toThrow(invalid(/--model is empty/));
  });
});

describe('numberListFlag', () => {
  it('reads one or more numbers', () => {
    expect(numberListFlag({ rows: '1, 2,8' }, 'rows')).toEqual([1, 2, 8]);
    expect(numberListFlag({ rows: '.5' }, 'rows')).toEqual([0.5]);
    expect(numberListFlag({}, 'rows')).toBeUndefined();
  });

  it.each(['', '1,', '1,,2', 'a', '1;2'])('refuses %j', (text) => {
    expect(() => numberListFlag({ rows: text }, 'rows')).toThrow(invalid(/--rows must be numbers/));
  });
});
