import { expect, it } from 'vitest';
import { larosa } from './larosa.ts';

it('refuses an option that it does not know, instead of leaving it out', () => {
  expect(() => larosa({ sparsity: 0.4, novelty: 'some' } as Parameters<typeof larosa>[0])).toThrow(
    expect.objectContaining({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining('larosa: there is no option "novelty"'),
    }),
  );
});
