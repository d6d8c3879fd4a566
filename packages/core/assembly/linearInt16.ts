import { dealer, firstUnit, int, nextUnit, ptr } from './args';

// Weights in tiles of 32 outputs: int16 [outputs / 32, inputs, 32], so that one line of 64 bytes holds an input for 32 outputs, and a
// tile is one run of memory whose sums stay in registers. Activations are float32. Each output adds its inputs in ascending order, in
// one thread, and is scaled then: the bits depend neither on threads nor on rows. Threads divide the tiles.

const LINE: usize = 64;

// words: rows*, input, inputStride, weight, inputs, tiles, rowScales, bias (0: none), output, outputStride, counter*, next counter* (0: none)
export function linearInt16(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const inputs = ptr(args, 4);
  const tiles = int(args, 5);
  const xStride = ptr(args, 2);
  const outputStride = ptr(args, 9);
  const counter = dealer(ptr(args, 10), ptr(args, 11), rows);
  let tile = firstUnit(counter, tiles, thread, threads);
  while (tile < tiles) {
    const weight = ptr(args, 3) + <usize>tile * inputs * LINE;
    const at = <usize>tile << 7;
    const scales = ptr(args, 6) + at;
    const bias = ptr(args, 7) ? ptr(args, 7) + at : 0;
    let x = ptr(args, 1);
    let output = ptr(args, 8) + at;
    let row = 0;
    for (; row + 4 <= rows; row += 4) {
      for (let part: usize = 0; part < LINE; part += 16) fourRows(weight + part, x, xStride, inputs, output + part * 2, outputStride);
      for (let r = 0; r < 4; r++) {
        finish(output, scales, bias);
        output += outputStride;
      }
      x += xStride << 2;
    }
    for (; row < rows; row++) {
      oneRow(weight, x, inputs, output);
      finish(output, scales, bias);
      x += xStride;
      output += outputStride;
    }
    tile = nextUnit(counter, tile, tiles, thread, threads);
  }
}

// @ts-ignore: decorator
@inline
function floats(weights: v128): v128 {
  return f32x4.convert_i32x4_s(weights);
}

// @ts-ignore: decorator
@inline
function plusProduct(sum: v128, x: v128, w: v128): v128 {
  return f32x4.add(sum, f32x4.mul(x, w));
}

// Loads and stores have constant offsets, so that V8 can join neighbours.
// The sums of 32 outputs of one row.
function oneRow(w: usize, x: usize, inputs: usize, output: usize): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let a4 = a0;
  let a5 = a0;
  let a6 = a0;
  let a7 = a0;
  const end = x + (inputs << 2);
  while (x < end) {
    const v = v128.load32_splat(x);
    a0 = plusProduct(a0, v, floats(v128.load16x4_s(w)));
    a1 = plusProduct(a1, v, floats(v128.load16x4_s(w, 8)));
    a2 = plusProduct(a2, v, floats(v128.load16x4_s(w, 16)));
    a3 = plusProduct(a3, v, floats(v128.load16x4_s(w, 24)));
    a4 = plusProduct(a4, v, floats(v128.load16x4_s(w, 32)));
    a5 = plusProduct(a5, v, floats(v128.load16x4_s(w, 40)));
    a6 = plusProduct(a6, v, floats(v128.load16x4_s(w, 48)));
    a7 = plusProduct(a7, v, floats(v128.load16x4_s(w, 56)));
    x += 4;
    w += LINE;
  }
  v128.store(output, a0);
  v128.store(output, a1, 16);
  v128.store(output, a2, 32);
  v128.store(output, a3, 48);
  v128.store(output, a4, 64);
  v128.store(output, a5, 80);
  v128.store(output, a6, 96);
  v128.store(output, a7, 112);
}

// The sums of 8 outputs of four rows: a weight is turned into a float once for all of them.
function fourRows(w: usize, x: usize, xStride: usize, inputs: usize, output: usize, outputStride: usize): void {
  const x2 = xStride << 1;
  const x3 = x2 + xStride;
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  const end = x + (inputs << 2);
  while (x < end) {
    const w0 = floats(v128.load16x4_s(w));
    const w1 = floats(v128.load16x4_s(w, 8));
    const a = v128.load32_splat(x);
    const b = v128.load32_splat(x + xStride);
    const c = v128.load32_splat(x + x2);
    const d = v128.load32_splat(x + x3);
    a0 = plusProduct(a0, a, w0);
    a1 = plusProduct(a1, a, w1);
    b0 = plusProduct(b0, b, w0);
    b1 = plusProduct(b1, b, w1);
    c0 = plusProduct(c0, c, w0);
    c1 = plusProduct(c1, c, w1);
    d0 = plusProduct(d0, d, w0);
    d1 = plusProduct(d1, d, w1);
    x += 4;
    w += LINE;
  }
  v128.store(output, a0);
  v128.store(output, a1, 16);
  output += outputStride;
  v128.store(output, b0);
  v128.store(output, b1, 16);
  output += outputStride;
  v128.store(output, c0);
  v128.store(output, c1, 16);
  output += outputStride;
  v128.store(output, d0);
  v128.store(output, d1, 16);
}

// 32 sums become outputs, in place.
function finish(output: usize, scales: usize, bias: usize): void {
  for (let i: usize = 0; i < 128; i += 16) {
    let y = f32x4.mul(v128.load(output + i), v128.load(scales + i));
    if (bias) y = f32x4.add(y, v128.load(bias + i));
    v128.store(output + i, y);
  }
}
