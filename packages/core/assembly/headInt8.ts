import { dealer, firstUnit, int, nextUnit, ptr } from './args';
import { plusDot } from './sumsInt8';

// Weights in tiles of 16 outputs and groups of 32 inputs: int8 [outputs / 16, groups, 16 pairs, 16, 2], float32 scales
// [outputs / 16, groups, 16]. Activations are int16. Each group's integer sum becomes float, is scaled and added in the order of the
// groups: one order for every row, whatever the number of threads and rows. Threads divide the tiles.

// words: rows*, quantized, quantizedStride, activationScales, weight, scales, groups, tiles, bias (0: none), output, outputStride,
//        counter*, next counter* (0: none)
export function headInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const groups = ptr(args, 6);
  const tiles = int(args, 7);
  const counter = dealer(ptr(args, 11), ptr(args, 12), rows);
  let tile = firstUnit(counter, tiles, thread, threads);
  while (tile < tiles) {
    const weight = ptr(args, 4) + <usize>tile * (groups << 9);
    const scales = ptr(args, 5) + <usize>tile * (groups << 6);
    const output = ptr(args, 9) + (<usize>tile << 6);
    const x = ptr(args, 1);
    const xStride = ptr(args, 2);
    const stride = ptr(args, 10);
    let row = 0;
    for (; row + 2 <= rows; row += 2) {
      const to = output + <usize>row * stride;
      twoRows(weight, scales, groups, x + <usize>row * xStride, xStride, ptr(args, 3) + (<usize>row << 2), to, to + stride);
    }
    if (row < rows) {
      const to = output + <usize>row * stride;
      oneRow(weight, scales, groups, x + <usize>row * xStride, ptr(args, 3) + (<usize>row << 2), to);
    }
    if (ptr(args, 8)) {
      for (row = 0; row < rows; row++) addBias(output + <usize>row * stride, ptr(args, 8) + (<usize>tile << 6));
    }
    tile = nextUnit(counter, tile, tiles, thread, threads);
  }
}

// @ts-ignore: decorator
@inline
function plusScaled(sum: v128, integers: v128, scales: v128): v128 {
  return f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(integers), scales));
}

function oneRow(w: usize, scales: usize, groups: usize, x: usize, factorAt: usize, output: usize): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  const last = w + (groups << 9);
  while (w < last) {
    let a0 = i32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    const end = w + 512;
    while (w < end) {
      const v = v128.load32_splat(x);
      a0 = plusDot(a0, v128.load8x8_s(w), v);
      a1 = plusDot(a1, v128.load8x8_s(w, 8), v);
      a2 = plusDot(a2, v128.load8x8_s(w, 16), v);
      a3 = plusDot(a3, v128.load8x8_s(w, 24), v);
      const u = v128.load32_splat(x, 4);
      a0 = plusDot(a0, v128.load8x8_s(w, 32), u);
      a1 = plusDot(a1, v128.load8x8_s(w, 40), u);
      a2 = plusDot(a2, v128.load8x8_s(w, 48), u);
      a3 = plusDot(a3, v128.load8x8_s(w, 56), u);
      x += 8;
      w += 64;
    }
    // Through memory, so that V8 sees whole trees of operations that it can join.
    v128.store(output, a0);
    v128.store(output, a1, 16);
    v128.store(output, a2, 32);
    v128.store(output, a3, 48);
    s0 = plusScaled(s0, v128.load(output), v128.load(scales));
    s1 = plusScaled(s1, v128.load(output, 16), v128.load(scales, 16));
    s2 = plusScaled(s2, v128.load(output, 32), v128.load(scales, 32));
    s3 = plusScaled(s3, v128.load(output, 48), v128.load(scales, 48));
    scales += 64;
  }
  const factor = v128.load32_splat(factorAt);
  v128.store(output, f32x4.mul(s0, factor));
  v128.store(output, f32x4.mul(s1, factor), 16);
  v128.store(output, f32x4.mul(s2, factor), 32);
  v128.store(output, f32x4.mul(s3, factor), 48);
}

function twoRows(
  w: usize,
  scales: usize,
  groups: usize,
  x: usize,
  xStride: usize,
  factorAt: usize,
  output: usize,
  other: usize,
): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let t0 = s0;
  let t1 = s0;
  let t2 = s0;
  let t3 = s0;
  const last = w + (groups << 9);
  while (w < last) {
    let a0 = i32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let b0 = a0;
    let b1 = a0;
    let b2 = a0;
    let b3 = a0;
    const end = w + 512;
    while (w < end) {
      const v = v128.load32_splat(x);
      const u = v128.load32_splat(x + xStride);
      const w0 = v128.load8x8_s(w);
      const w1 = v128.load8x8_s(w, 8);
      const w2 = v128.load8x8_s(w, 16);
      const w3 = v128.load8x8_s(w, 24);
      a0 = plusDot(a0, w0, v);
      a1 = plusDot(a1, w1, v);
      a2 = plusDot(a2, w2, v);
      a3 = plusDot(a3, w3, v);
      b0 = plusDot(b0, w0, u);
      b1 = plusDot(b1, w1, u);
      b2 = plusDot(b2, w2, u);
      b3 = plusDot(b3, w3, u);
      x += 4;
      w += 32;
    }
    v128.store(output, a0);
    v128.store(output, a1, 16);
    v128.store(output, a2, 32);
    v128.store(output, a3, 48);
    v128.store(other, b0);
    v128.store(other, b1, 16);
    v128.store(other, b2, 32);
    v128.store(other, b3, 48);
    const c0 = v128.load(scales);
    const c1 = v128.load(scales, 16);
    const c2 = v128.load(scales, 32);
    const c3 = v128.load(scales, 48);
    s0 = plusScaled(s0, v128.load(output), c0);
    s1 = plusScaled(s1, v128.load(output, 16), c1);
    s2 = plusScaled(s2, v128.load(output, 32), c2);
    s3 = plusScaled(s3, v128.load(output, 48), c3);
    t0 = plusScaled(t0, v128.load(other), c0);
    t1 = plusScaled(t1, v128.load(other, 16), c1);
    t2 = plusScaled(t2, v128.load(other, 32), c2);
    t3 = plusScaled(t3, v128.load(other, 48), c3);
    scales += 64;
  }
  let factor = v128.load32_splat(factorAt);
  v128.store(output, f32x4.mul(s0, factor));
  v128.store(output, f32x4.mul(s1, factor), 16);
  v128.store(output, f32x4.mul(s2, factor), 32);
  v128.store(output, f32x4.mul(s3, factor), 48);
  factor = v128.load32_splat(factorAt, 4);
  v128.store(other, f32x4.mul(t0, factor));
  v128.store(other, f32x4.mul(t1, factor), 16);
  v128.store(other, f32x4.mul(t2, factor), 32);
  v128.store(other, f32x4.mul(t3, factor), 48);
}

function addBias(output: usize, bias: usize): void {
  for (let i: usize = 0; i < 64; i += 16) v128.store(output + i, f32x4.add(v128.load(output + i), v128.load(bias + i)));
}
