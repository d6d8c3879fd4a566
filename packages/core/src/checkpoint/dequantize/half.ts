import { getFloat16 } from '@petamoriken/float16';

/** Every float16 bit pattern as float32: a look-up is far cheaper than a conversion per block. */
export const halfToFloat = /* @__PURE__ */ buildTable();

function buildTable(): Float32Array {
  const view = new DataView(new ArrayBuffer(2));
  const table = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    view.setUint16(0, bits);
    table[bits] = getFloat16(view, 0);
  }
  return table;
}

/** The float16 at byte `at`, little endian. */
export function half(source: Uint8Array, at: number): number {
  return halfToFloat[source[at]! | (source[at + 1]! << 8)]!;
}
