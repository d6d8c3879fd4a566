let table: Float32Array | undefined;

/** Every float16 bit pattern as float32: a look-up is far cheaper than a conversion per block. Made when first asked for. */
export function halfToFloat(): Float32Array {
  table ??= buildTable();
  return table;
}

function buildTable(): Float32Array {
  const floats = new Float32Array(65_536);
  for (let bits = 0; bits < 65_536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) floats[bits] = sign * fraction * 2 ** -24;
    else if (exponent === 31) floats[bits] = fraction === 0 ? sign * Infinity : Number.NaN;
    else floats[bits] = sign * (1024 + fraction) * 2 ** (exponent - 25);
  }
  return floats;
}

/** The float16 at byte `at`, little endian. */
export function half(source: Uint8Array, at: number): number {
  return (table ?? halfToFloat())[source[at]! | (source[at + 1]! << 8)]!;
}
