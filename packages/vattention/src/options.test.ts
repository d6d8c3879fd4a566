import { expect, it } from 'vitest';
import { settingsOf, type VattentionOptions } from './options.ts';

it('has defaults', () => {
  expect(settingsOf({})).toEqual({
    ...{ groupBytes: 16_384, reclaim: 'deferred', watermark: 0.01, eagerTokens: 8, prefixReuse: true },
    ...{ budgetBytes: undefined, warmBytes: undefined },
  });
});

it.each([
  [{ budgetBytes: 0 }, 'vattention: budgetBytes is 0; a whole number from 1 on is allowed.'],
  [{ groupBytes: 1.5 }, 'vattention: groupBytes is 1.5; a whole number from 1 on is allowed.'],
  [{ warmBytes: -1 }, 'vattention: warmBytes is -1; a whole number from 0 on is allowed.'],
  [{ eagerTokens: Number.NaN }, 'vattention: eagerTokens is NaN; a whole number from 0 on is allowed.'],
  [{ reclaim: 'late' }, 'vattention: reclaim is "late"; deferred and eager are allowed.'],
  [
    { reclaim: 'eager', warmBytes: 5 },
    'vattention: with eager reclaim no memory stays warm. Leave out warmBytes, or reclaim.',
  ],
  [{ watermark: 1 }, 'vattention: watermark is 1; a share from 0 to below 1 is allowed.'],
  [{ prefixReuse: 1 }, 'vattention: prefixReuse is 1; true and false are allowed.'],
  [
    { budget: 5 },
    'vattention: there is no option "budget". There are budgetBytes, groupBytes, reclaim, warmBytes, watermark, eagerTokens, prefixReuse.',
  ],
])('refuses %j', (options, message) => {
  expect(() => settingsOf(options as VattentionOptions)).toThrow(
    expect.objectContaining({ code: 'LLMOPT_OPTION_INVALID', message }),
  );
});
