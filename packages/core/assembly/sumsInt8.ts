// What the int8 products share.

// @ts-ignore: decorator
@inline
export function plusDot(sum: v128, weights: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(weights, x));
}

// Sums are stored as they are and finished in a pass of their own: so all that leads to the store is of a kind that V8 can join.
/** Outputs in place: sum · rowScale · activationScale (+ bias). */
export function finish(output: usize, scales: usize, bias: usize, factor: v128, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) {
    const y = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(v128.load(output + i)), v128.load(scales + i)), factor);
    v128.store(output + i, bias ? f32x4.add(y, v128.load(bias + i)) : y);
  }
}
