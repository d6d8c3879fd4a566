// e^x without a table (a module on shared memory may have no static data): x = n·ln2 + r, a polynomial for e^r on
// |r| ≤ ln2/2, and n put into the exponent bits. Relative error below 2e-7; x below -87 gives 0.
const LOG2E: f32 = 1.44269504;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.12194440e-4;
// 1.5 · 2^23: added to a small number it leaves the nearest integer, which is also in the low bits of the sum.
const ROUND: f32 = 12582912;
const ROUND_BITS: i32 = 0x4b400000;

// @ts-ignore: decorator
@inline
export function exp4(value: v128): v128 {
  const x = f32x4.pmin(f32x4.pmax(value, f32x4.splat(-88)), f32x4.splat(88));
  const rounded = f32x4.relaxed_madd(x, f32x4.splat(LOG2E), f32x4.splat(ROUND));
  const n = f32x4.sub(rounded, f32x4.splat(ROUND));
  const r = f32x4.relaxed_madd(n, f32x4.splat(-LN2_LOW), f32x4.relaxed_madd(n, f32x4.splat(-LN2_HIGH), x));
  let p = f32x4.splat(1.9875691500e-4);
  p = f32x4.relaxed_madd(p, r, f32x4.splat(1.3981999507e-3));
  p = f32x4.relaxed_madd(p, r, f32x4.splat(8.3334519073e-3));
  p = f32x4.relaxed_madd(p, r, f32x4.splat(4.1665795894e-2));
  p = f32x4.relaxed_madd(p, r, f32x4.splat(1.6666665459e-1));
  p = f32x4.relaxed_madd(p, r, f32x4.splat(5.0000001201e-1));
  p = f32x4.relaxed_madd(f32x4.mul(p, r), r, f32x4.add(r, f32x4.splat(1)));
  const power = i32x4.shl(i32x4.sub(rounded, i32x4.splat(ROUND_BITS - 127)), 23);
  return v128.and(f32x4.mul(p, power), f32x4.ge(value, f32x4.splat(-87)));
}
