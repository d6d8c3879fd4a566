import { getFloat16 } from '@petamoriken/float16';
import { expect, it } from 'vitest';
import { halfToFloat } from './half.ts';

it('has every float16', () => {
  const view = new DataView(new ArrayBuffer(2));
  const different = Array.from({ length: 65_536 }, (_, bits) => bits).filter((bits) => {
    view.setUint16(0, bits);
    return !Object.is(halfToFloat()[bits], getFloat16(view, 0));
  });
  expect(different).toEqual([]);
});
