import { dealer, firstUnit, int, nextUnit, ptr } from './args';
import { halfOfRows } from './panelInt8';
import { finish, plusDot } from './sumsInt8';

// Weights in tiles of 32 outputs: int8 [outputs / 32, channels / 2, 32, 2], so that one line of 64 bytes holds a pair of input channels
// for 32 outputs, and a tile is one run of memory whose sums stay in registers. Activations are int16 (see quantize); the sums are
// int32 and cannot overflow, so any order gives the same bits. Threads divide the tiles.

const LINE: usize = 64;
// From so many rows on it pays to widen half a tile first.
const MANY: i32 = 10;

// words: rows*, quantized, quantizedStride, activationScales, weight, pairs, tiles, rowScales, bias (0: none), output, outputStride,
//        panels (64 bytes per pair and thread; 0 where rows are few), panelStride, counter*, next counter* (0: none)
export function linearInt8(args: usize, thread: i32, threads: i32): void {
  const tiles = int(args, 6);
  const counter = dealer(ptr(args, 13), ptr(args, 14), load<i32>(ptr(args, 0)));
  let tile = firstUnit(counter, tiles, thread, threads);
  while (tile < tiles) {
    tileOfRows(args, ptr(args, 4) + <usize>tile * ptr(args, 5) * LINE, <usize>tile, thread);
    tile = nextUnit(counter, tile, tiles, thread, threads);
  }
}

/** The 32 outputs of a tile, for all rows; the words of linearInt8, but for where the tile's weights lie. */
export function tileOfRows(args: usize, weight: usize, tile: usize, thread: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const xStride = ptr(args, 2);
  const pairs = ptr(args, 5);
  const outputStride = ptr(args, 10);
  const scales = ptr(args, 7) + (tile << 7);
  const bias = ptr(args, 8) ? ptr(args, 8) + (tile << 7) : 0;
  let x = ptr(args, 1);
  let factor = ptr(args, 3);
  let output = ptr(args, 9) + (tile << 7);
  let row = 0;
  if (rows >= MANY) {
    const panel = ptr(args, 11) + <usize>thread * ptr(args, 12);
    row = rows - (rows % 5);
    halfOfRows(weight, panel, x, xStride, pairs, row, factor, scales, bias, output, outputStride);
    halfOfRows(weight + 32, panel, x, xStride, pairs, row, factor, scales + 64, bias ? bias + 64 : 0, output + 64, outputStride);
    x += <usize>row * xStride;
    factor += <usize>row << 2;
    output += <usize>row * outputStride;
  }
  for (; row + 4 <= rows; row += 4) {
    fourRows(weight, x, xStride, pairs, factor, scales, bias, output, outputStride);
    fourRows(weight + 32, x, xStride, pairs, factor, scales + 64, bias ? bias + 64 : 0, output + 64, outputStride);
    x += xStride << 2;
    factor += 16;
    output += outputStride << 2;
  }
  if (row + 2 <= rows) {
    twoRows(weight, x, xStride, pairs, factor, scales, bias, output, outputStride);
    x += xStride << 1;
    factor += 8;
    output += outputStride << 1;
    row += 2;
  }
  if (row < rows) oneRow(weight, x, pairs, factor, scales, bias, output);
}

function oneRow(w: usize, x: usize, pairs: usize, factorAt: usize, scales: usize, bias: usize, output: usize): void {
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let a4 = a0;
  let a5 = a0;
  let a6 = a0;
  let a7 = a0;
  const end = x + (pairs << 2);
  while (x < end) {
    const v = v128.load32_splat(x);
    a0 = plusDot(a0, v128.load8x8_s(w), v);
    a1 = plusDot(a1, v128.load8x8_s(w, 8), v);
    a2 = plusDot(a2, v128.load8x8_s(w, 16), v);
    a3 = plusDot(a3, v128.load8x8_s(w, 24), v);
    a4 = plusDot(a4, v128.load8x8_s(w, 32), v);
    a5 = plusDot(a5, v128.load8x8_s(w, 40), v);
    a6 = plusDot(a6, v128.load8x8_s(w, 48), v);
    a7 = plusDot(a7, v128.load8x8_s(w, 56), v);
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
  finish(output, scales, bias, v128.load32_splat(factorAt), 128);
}

function twoRows(
  w: usize,
  x: usize,
  xStride: usize,
  pairs: usize,
  factorAt: usize,
  scales: usize,
  bias: usize,
  output: usize,
  outputStride: usize,
): void {
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let a4 = a0;
  let a5 = a0;
  let a6 = a0;
  let a7 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  let b4 = a0;
  let b5 = a0;
  let b6 = a0;
  let b7 = a0;
  const end = x + (pairs << 2);
  while (x < end) {
    const v = v128.load32_splat(x);
    const u = v128.load32_splat(x + xStride);
    const w0 = v128.load8x8_s(w);
    const w1 = v128.load8x8_s(w, 8);
    const w2 = v128.load8x8_s(w, 16);
    const w3 = v128.load8x8_s(w, 24);
    const w4 = v128.load8x8_s(w, 32);
    const w5 = v128.load8x8_s(w, 40);
    const w6 = v128.load8x8_s(w, 48);
    const w7 = v128.load8x8_s(w, 56);
    a0 = plusDot(a0, w0, v);
    a1 = plusDot(a1, w1, v);
    a2 = plusDot(a2, w2, v);
    a3 = plusDot(a3, w3, v);
    a4 = plusDot(a4, w4, v);
    a5 = plusDot(a5, w5, v);
    a6 = plusDot(a6, w6, v);
    a7 = plusDot(a7, w7, v);
    b0 = plusDot(b0, w0, u);
    b1 = plusDot(b1, w1, u);
    b2 = plusDot(b2, w2, u);
    b3 = plusDot(b3, w3, u);
    b4 = plusDot(b4, w4, u);
    b5 = plusDot(b5, w5, u);
    b6 = plusDot(b6, w6, u);
    b7 = plusDot(b7, w7, u);
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
  finish(output, scales, bias, v128.load32_splat(factorAt), 128);
  output += outputStride;
  v128.store(output, b0);
  v128.store(output, b1, 16);
  v128.store(output, b2, 32);
  v128.store(output, b3, 48);
  v128.store(output, b4, 64);
  v128.store(output, b5, 80);
  v128.store(output, b6, 96);
  v128.store(output, b7, 112);
  finish(output, scales, bias, v128.load32_splat(factorAt, 4), 128);
}

// Half a tile, 16 outputs: 4 rows × 4 sums are what the registers hold.
function fourRows(
  w: usize,
  x: usize,
  xStride: usize,
  pairs: usize,
  factorAt: usize,
  scales: usize,
  bias: usize,
  output: usize,
  outputStride: usize,
): void {
  let a0 = i32x4.splat(0);
  let a1 = a0;
  let a2 = a0;
  let a3 = a0;
  let b0 = a0;
  let b1 = a0;
  let b2 = a0;
  let b3 = a0;
  let c0 = a0;
  let c1 = a0;
  let c2 = a0;
  let c3 = a0;
  let d0 = a0;
  let d1 = a0;
  let d2 = a0;
  let d3 = a0;
  let y = x + xStride;
  let z = y + xStride;
  let t = z + xStride;
  const end = x + (pairs << 2);
  while (x < end) {
    const w0 = v128.load8x8_s(w);
    const w1 = v128.load8x8_s(w, 8);
    const w2 = v128.load8x8_s(w, 16);
    const w3 = v128.load8x8_s(w, 24);
    let v = v128.load32_splat(x);
    a0 = plusDot(a0, w0, v);
    a1 = plusDot(a1, w1, v);
    a2 = plusDot(a2, w2, v);
    a3 = plusDot(a3, w3, v);
    v = v128.load32_splat(y);
    b0 = plusDot(b0, w0, v);
    b1 = plusDot(b1, w1, v);
    b2 = plusDot(b2, w2, v);
    b3 = plusDot(b3, w3, v);
    v = v128.load32_splat(z);
    c0 = plusDot(c0, w0, v);
    c1 = plusDot(c1, w1, v);
    c2 = plusDot(c2, w2, v);
    c3 = plusDot(c3, w3, v);
    v = v128.load32_splat(t);
    d0 = plusDot(d0, w0, v);
    d1 = plusDot(d1, w1, v);
    d2 = plusDot(d2, w2, v);
    d3 = plusDot(d3, w3, v);
    x += 4;
    y += 4;
    z += 4;
    t += 4;
    w += LINE;
  }
  v128.store(output, a0);
  v128.store(output, a1, 16);
  v128.store(output, a2, 32);
  v128.store(output, a3, 48);
  finish(output, scales, bias, v128.load32_splat(factorAt), 64);
  output += outputStride;
  v128.store(output, b0);
  v128.store(output, b1, 16);
  v128.store(output, b2, 32);
  v128.store(output, b3, 48);
  finish(output, scales, bias, v128.load32_splat(factorAt, 4), 64);
  output += outputStride;
  v128.store(output, c0);
  v128.store(output, c1, 16);
  v128.store(output, c2, 32);
  v128.store(output, c3, 48);
  finish(output, scales, bias, v128.load32_splat(factorAt, 8), 64);
  output += outputStride;
  v128.store(output, d0);
  v128.store(output, d1, 16);
  v128.store(output, d2, 32);
  v128.store(output, d3, 48);
  finish(output, scales, bias, v128.load32_splat(factorAt, 12), 64);
}
