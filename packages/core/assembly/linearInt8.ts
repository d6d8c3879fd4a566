import { int, ptr } from './args';

// Channel-major weights: the int8 outputs of an input channel, padded to lines of 64 bytes. Long records lie one behind the other
// (spread 0: a channel's lines are neighbours), so that a skipped channel skips a run of memory. Short ones would be too short to
// stream: the lines of 8 channels are interleaved, [channels / 8, outputs / 64, 8, 64] (spread 3: a channel's lines are 64 << 3 bytes
// apart), and a pass over 8 channels reads one run. Activations are int16 (see quantize); the sums are int32 and cannot overflow,
// so any order and any split over threads gives the same bits.

const PANEL: i32 = 32;
const LINE: usize = 64;

// One row: each thread takes a share of the channels, all outputs, into its own part.
// Several rows: each thread takes panels of 32 outputs, all channels, into part 0.
// words: rows*, quantized, quantizedStride, weight, recordBytes, channels (padded to 8), outputs (padded to 64),
//        offsets, count*, parts, partStride, rowStride, panels, panelStride, spread
export function linearInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  if (rows == 1) {
    const count = load<i32>(ptr(args, 8));
    const share = ((count >> 3) + threads - 1) / threads;
    const from = min<i32>(thread * share, count >> 3) << 3;
    const to = min<i32>((thread + 1) * share, count >> 3) << 3;
    oneRow(
      ptr(args, 3),
      ptr(args, 7) + (<usize>from << 2),
      ptr(args, 1) + (<usize>from << 1),
      to - from,
      int(args, 6),
      ptr(args, 9) + <usize>thread * ptr(args, 10),
      ptr(args, 14),
    );
  } else if (rows > 1) {
    const panel = ptr(args, 12) + <usize>thread * ptr(args, 13);
    for (let column = thread * PANEL; column < int(args, 6); column += threads * PANEL) {
      const at = lineAt(<usize>column, ptr(args, 14));
      pack(ptr(args, 3) + at, ptr(args, 4), ptr(args, 14) ? LINE : ptr(args, 4), int(args, 5), panel);
      multiply(panel, ptr(args, 1), ptr(args, 2), rows, int(args, 5), ptr(args, 9) + (<usize>column << 2), ptr(args, 11));
    }
  }
}

/** Where output j of a channel lies, from the channel's first line on. */
// @ts-ignore: decorator
@inline
function lineAt(j: usize, spread: usize): usize {
  return ((j & ~(LINE - 1)) << spread) + (j & (LINE - 1));
}

// @ts-ignore: decorator
@inline
function low(pair: v128): v128 {
  return i16x8.extend_low_i8x16_s(pair);
}

// @ts-ignore: decorator
@inline
function high(pair: v128): v128 {
  return i16x8.extend_high_i8x16_s(pair);
}

// @ts-ignore: decorator
@inline
function firstHalf(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
function secondHalf(a: v128, b: v128): v128 {
  return i8x16.shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// @ts-ignore: decorator
@inline
function plusDot(sum: v128, weights: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(weights, x));
}

// Eight channels per pass, as interleaved pairs, so that a sum is loaded and stored once per eight channels.
function oneRow(weight: usize, offsets: usize, x: usize, count: i32, outputs: i32, sums: usize, spread: usize): void {
  memory.fill(sums, 0, <usize>outputs << 2);
  for (let i = 0; i < count; i += 8) {
    const offset = offsets + (<usize>i << 2);
    const p0 = weight + <usize>load<u32>(offset);
    const p1 = weight + <usize>load<u32>(offset, 4);
    const p2 = weight + <usize>load<u32>(offset, 8);
    const p3 = weight + <usize>load<u32>(offset, 12);
    const p4 = weight + <usize>load<u32>(offset, 16);
    const p5 = weight + <usize>load<u32>(offset, 20);
    const p6 = weight + <usize>load<u32>(offset, 24);
    const p7 = weight + <usize>load<u32>(offset, 28);
    const xs = x + (<usize>i << 1);
    const x0 = v128.load32_splat(xs);
    const x1 = v128.load32_splat(xs, 4);
    const x2 = v128.load32_splat(xs, 8);
    const x3 = v128.load32_splat(xs, 12);
    for (let j: usize = 0; j < <usize>outputs; j += 16) {
      const at = lineAt(j, spread);
      const sum = sums + (j << 2);
      let s0 = v128.load(sum);
      let s1 = v128.load(sum, 16);
      let s2 = v128.load(sum, 32);
      let s3 = v128.load(sum, 48);
      let a = v128.load(p0 + at);
      let b = v128.load(p1 + at);
      let first = firstHalf(a, b);
      let second = secondHalf(a, b);
      s0 = plusDot(s0, low(first), x0);
      s1 = plusDot(s1, high(first), x0);
      s2 = plusDot(s2, low(second), x0);
      s3 = plusDot(s3, high(second), x0);
      a = v128.load(p2 + at);
      b = v128.load(p3 + at);
      first = firstHalf(a, b);
      second = secondHalf(a, b);
      s0 = plusDot(s0, low(first), x1);
      s1 = plusDot(s1, high(first), x1);
      s2 = plusDot(s2, low(second), x1);
      s3 = plusDot(s3, high(second), x1);
      a = v128.load(p4 + at);
      b = v128.load(p5 + at);
      first = firstHalf(a, b);
      second = secondHalf(a, b);
      s0 = plusDot(s0, low(first), x2);
      s1 = plusDot(s1, high(first), x2);
      s2 = plusDot(s2, low(second), x2);
      s3 = plusDot(s3, high(second), x2);
      a = v128.load(p6 + at);
      b = v128.load(p7 + at);
      first = firstHalf(a, b);
      second = secondHalf(a, b);
      s0 = plusDot(s0, low(first), x3);
      s1 = plusDot(s1, high(first), x3);
      s2 = plusDot(s2, low(second), x3);
      s3 = plusDot(s3, high(second), x3);
      v128.store(sum, s0);
      v128.store(sum, s1, 16);
      v128.store(sum, s2, 32);
      v128.store(sum, s3, 48);
    }
  }
}

// Panel: for each 8 outputs, for each pair of channels, 8 × (channel, next channel) as int16. `step`: bytes from channel to channel.
function pack(weight: usize, recordBytes: usize, step: usize, channels: i32, panel: usize): void {
  let to = panel;
  for (let column: usize = 0; column < <usize>PANEL; column += 8) {
    let eight = weight + column;
    for (let channel = 0; channel < channels; channel += 8) {
      for (let from = eight; from < eight + (step << 3); from += step << 1) {
        const a = v128.load8x8_s(from);
        const b = v128.load8x8_s(from + step);
        v128.store(to, i16x8.shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11));
        v128.store(to, i16x8.shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), 16);
        to += 32;
      }
      eight += recordBytes << 3;
    }
  }
}

// Four rows × 8 outputs in registers over all channels. Rows behind the last are scratch: computed and never read.
function multiply(panel: usize, x: usize, xStride: usize, rows: i32, channels: i32, sums: usize, sumStride: usize): void {
  const end = <usize>channels << 1;
  for (let row = 0; row < rows; row += 4) {
    const x0 = x + <usize>row * xStride;
    const x1 = x0 + xStride;
    const x2 = x1 + xStride;
    const x3 = x2 + xStride;
    let p = panel;
    for (let column: usize = 0; column < <usize>PANEL; column += 8) {
      let a0 = i32x4.splat(0);
      let a1 = a0;
      let b0 = a0;
      let b1 = a0;
      let c0 = a0;
      let c1 = a0;
      let d0 = a0;
      let d1 = a0;
      for (let k: usize = 0; k < end; k += 4) {
        const w0 = v128.load(p);
        const w1 = v128.load(p, 16);
        let v = v128.load32_splat(x0 + k);
        a0 = plusDot(a0, w0, v);
        a1 = plusDot(a1, w1, v);
        v = v128.load32_splat(x1 + k);
        b0 = plusDot(b0, w0, v);
        b1 = plusDot(b1, w1, v);
        v = v128.load32_splat(x2 + k);
        c0 = plusDot(c0, w0, v);
        c1 = plusDot(c1, w1, v);
        v = v128.load32_splat(x3 + k);
        d0 = plusDot(d0, w0, v);
        d1 = plusDot(d1, w1, v);
        p += 32;
      }
      const s0 = sums + <usize>row * sumStride + (column << 2);
      const s1 = s0 + sumStride;
      const s2 = s1 + sumStride;
      const s3 = s2 + sumStride;
      v128.store(s0, a0);
      v128.store(s0, a1, 16);
      v128.store(s1, b0);
      v128.store(s1, b1, 16);
      v128.store(s2, c0);
      v128.store(s2, c1, 16);
      v128.store(s3, d0);
      v128.store(s3, d1, 16);
    }
  }
}

// Adds up the parts and applies the scales: output = sum · rowScale · activationScale (+ bias).
// words: rows*, parts, partStride, rowStride, outputs (padded to 64), rowScales, activationScales, bias (0: none), output, outputStride
export function finishInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const outputs = int(args, 4);
  if (rows == 1) {
    const share = ((outputs >> 6) + threads - 1) / threads;
    finish(args, 0, min<i32>(thread * share << 6, outputs), min<i32>((thread + 1) * share << 6, outputs), threads);
  } else {
    for (let row = thread; row < rows; row += threads) finish(args, row, 0, outputs, 1);
  }
}

function finish(args: usize, row: i32, from: i32, to: i32, parts: i32): void {
  const sums = ptr(args, 1) + <usize>row * ptr(args, 3);
  const partStride = ptr(args, 2);
  const rowScales = ptr(args, 5);
  const bias = ptr(args, 7);
  const output = ptr(args, 8) + <usize>row * ptr(args, 9);
  const scale = v128.load32_splat(ptr(args, 6) + (<usize>row << 2));
  for (let j = <usize>from << 2; j < <usize>to << 2; j += 16) {
    let sum = v128.load(sums + j);
    for (let part = 1; part < parts; part++) sum = i32x4.add(sum, v128.load(sums + <usize>part * partStride + j));
    let y = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum), v128.load(rowScales + j)), scale);
    if (bias) y = f32x4.add(y, v128.load(bias + j));
    v128.store(output + j, y);
  }
}
