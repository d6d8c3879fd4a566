import { expect, it } from 'vitest';
import { fakeMemory, smallLayout } from '../../test/fakeMemory.ts';
import { settingsOf } from '../options.ts';
import { policyLine } from './policy.ts';

const sizes = { groupBytes: 16_384, budgetBytes: 20e6, warmBytes: 5e6 };

it.each([
  [
    {},
    'madvise',
    'given back with madvise through node:ffi, beyond 5.0 MB that no sequence uses; prefixes are used again',
  ],
  [
    { reclaim: 'eager' },
    'madvise',
    'given back with madvise through node:ffi, at once when a sequence ends; prefixes are used again',
  ],
  [
    { prefixReuse: false },
    'none',
    'kept until the pipeline is disposed; giving back pages needs node:ffi (Node.js 26.1 or later, on Linux); no prefix is used again',
  ],
  [
    {},
    'recycle',
    'given back only all at once, when nothing runs; giving back pages needs node:ffi (Node.js 26.1 or later, on Linux); prefixes are used again',
  ],
] as const)('says what happens to memory: %j, %s', (options, giveBack, end) => {
  const { memory } = fakeMemory(smallLayout, giveBack);
  expect(policyLine(settingsOf(options), { ...sizes, memory })).toBe(
    `vattention: groups of 16,384 bytes behind the tokens, at most 20.0 MB; ${end}`,
  );
});
