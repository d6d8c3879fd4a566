import { exp4 } from './exp';
import { int, ptr } from './args';

// Activations, number by number. Strides are padded to 64 bytes, so whole vectors may be read and written behind the width. Two per
// turn: V8 can join them. All kernels here take the same
// words: rows*, input, inputStride, output, outputStride, width

export function silu(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const end = <usize>int(args, 5) << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = fromOf(args, row);
    const to = toOf(args, row);
    for (let i: usize = 0; i < end; i += 32) {
      const a = silu4(v128.load(from + i));
      const b = silu4(v128.load(from + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
  }
}

export function geluTanh(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const end = <usize>int(args, 5) << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = fromOf(args, row);
    const to = toOf(args, row);
    for (let i: usize = 0; i < end; i += 32) {
      const a = geluTanh4(v128.load(from + i));
      const b = geluTanh4(v128.load(from + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
  }
}

export function gelu(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const end = <usize>int(args, 5) << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = fromOf(args, row);
    const to = toOf(args, row);
    for (let i: usize = 0; i < end; i += 32) {
      const a = gelu4(v128.load(from + i));
      const b = gelu4(v128.load(from + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
  }
}

// @ts-ignore: decorator
@inline
function fromOf(args: usize, row: i32): usize {
  return ptr(args, 1) + <usize>row * <usize>int(args, 2);
}

// @ts-ignore: decorator
@inline
function toOf(args: usize, row: i32): usize {
  return ptr(args, 3) + <usize>row * <usize>int(args, 4);
}

// x / (1 + e^-x)
// @ts-ignore: decorator
@inline
export function silu4(x: v128): v128 {
  return f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.neg(x))));
}

// (1 + tanh u) / 2 = 1 / (1 + e^-2u), which needs no tanh and loses nothing where tanh is near -1.
// @ts-ignore: decorator
@inline
function geluTanh4(x: v128): v128 {
  // √(8/π) and 0.044715 · √(8/π)
  const square = f32x4.mul(x, x);
  const slope = f32x4.add(f32x4.splat(1.5957691216), f32x4.mul(square, f32x4.splat(0.0713548163)));
  return f32x4.div(x, f32x4.add(f32x4.splat(1), exp4(f32x4.neg(f32x4.mul(x, slope)))));
}

// Φ by a polynomial in t = 1 / (1 + p|z|), z = x/√2 (Abramowitz and Stegun, 7.1.26): erfc(|z|) = t · (a1 + t · (a2 + …)) · e^(-z²), to 1.5e-7.
// @ts-ignore: decorator
@inline
function gelu4(x: v128): v128 {
  const one = f32x4.splat(1);
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(f32x4.abs(x), f32x4.splat(0.3275911 * 0.70710678))));
  let p = f32x4.splat(1.061405429);
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-1.453152027));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(1.421413741));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(-0.284496736));
  p = f32x4.add(f32x4.mul(p, t), f32x4.splat(0.254829592));
  const tail = f32x4.mul(f32x4.mul(p, t), exp4(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5))));
  // x · (1 - tail/2) right of 0, x · tail/2 left of it.
  const half = f32x4.mul(tail, f32x4.splat(0.5));
  return f32x4.mul(x, v128.bitselect(half, f32x4.sub(one, half), f32x4.lt(x, f32x4.splat(0))));
}
