import { finish, plusDot } from './sumsInt8';

// The product of linearInt8 for many rows: half a tile is widened to int16 once for all of them.

const LINE: usize = 64;

// Half a tile, 16 outputs, for `rows` rows, a multiple of 5.
export function halfOfRows(
  weight: usize,
  panel: usize,
  x: usize,
  xStride: usize,
  pairs: usize,
  rows: i32,
  factor: usize,
  scales: usize,
  bias: usize,
  output: usize,
  outputStride: usize,
): void {
  for (let to = panel, end = panel + pairs * LINE; to < end; to += LINE) {
    const a = v128.load8x8_s(weight);
    const b = v128.load8x8_s(weight, 8);
    const c = v128.load8x8_s(weight, 16);
    const d = v128.load8x8_s(weight, 24);
    v128.store(to, a);
    v128.store(to, b, 16);
    v128.store(to, c, 32);
    v128.store(to, d, 48);
    weight += LINE;
  }
  for (let row = 0; row < rows; row += 5) {
    fiveRows(panel, x, xStride, pairs, factor, scales, bias, output, outputStride);
    x += xStride * 5;
    factor += 20;
    output += outputStride * 5;
  }
}

function fiveRows(
  panel: usize,
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
  let e0 = a0;
  let e1 = a0;
  let e2 = a0;
  let e3 = a0;
  let y = x + xStride;
  let z = y + xStride;
  let t = z + xStride;
  let u = t + xStride;
  const end = x + (pairs << 2);
  while (x < end) {
    const w0 = v128.load(panel);
    const w1 = v128.load(panel, 16);
    const w2 = v128.load(panel, 32);
    const w3 = v128.load(panel, 48);
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
    v = v128.load32_splat(u);
    e0 = plusDot(e0, w0, v);
    e1 = plusDot(e1, w1, v);
    e2 = plusDot(e2, w2, v);
    e3 = plusDot(e3, w3, v);
    x += 4;
    y += 4;
    z += 4;
    t += 4;
    u += 4;
    panel += LINE;
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
  output += outputStride;
  v128.store(output, e0);
  v128.store(output, e1, 16);
  v128.store(output, e2, 32);
  v128.store(output, e3, 48);
  finish(output, scales, bias, v128.load32_splat(factorAt, 16), 64);
}
