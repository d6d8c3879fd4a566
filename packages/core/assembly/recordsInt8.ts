import { dealer, firstUnit, int, nextUnit, ptr } from './args';
import { tileOfRows } from './linearInt8';

// Weights in records: int8 [channels, outputs], one run of memory per input channel, so that a channel that is not alive leaves a whole
// run unread. Sums are int32 and cannot overflow: any order and any split over threads gives the same bits.

const LINE: usize = 64;
// Lines at the start of each record that are asked for a pass ahead.
const AHEAD: usize = 9;

// One row: each thread takes a share of the alive channels, all outputs, into its own part.
// words: rows* (0 or 1), quantized, offsets (bytes of each record, 8 more behind the last), count* (a multiple of 8), weight,
//        outputs (a multiple of 32), parts, partStride
export function recordsInt8(args: usize, thread: i32, threads: i32): void {
  if (load<i32>(ptr(args, 0)) == 0) return;
  const passes = load<i32>(ptr(args, 3)) >> 3;
  const from = (passes * thread) / threads;
  const end = (passes * (thread + 1)) / threads;
  const outputs = ptr(args, 5);
  const sums = ptr(args, 6) + <usize>thread * ptr(args, 7);
  const weight = ptr(args, 4);
  const ahead = min<usize>(outputs, AHEAD * LINE);
  memory.fill(sums, 0, outputs << 2);
  let touched = 0;
  for (let pass = from; pass < end; pass++) {
    const offsets = ptr(args, 2) + (<usize>pass << 5);
    for (let i: usize = 0; i < ahead; i += LINE) {
      for (let record: usize = 32; record < 64; record += 4) touched |= load<i32>(weight + load<u32>(offsets + record) + i);
    }
    eightRecords(weight, offsets, ptr(args, 1) + (<usize>pass << 4), outputs, sums);
  }
  // Behind the sums: what was touched must go somewhere, or it need not be read.
  store<i32>(sums + (outputs << 2), touched);
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
function plusLow(sum: v128, pair: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(pair), x));
}

// @ts-ignore: decorator
@inline
function plusHigh(sum: v128, pair: v128, x: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(pair), x));
}

// Eight channels per pass, as interleaved pairs, so that a sum is loaded and stored once per eight channels.
function eightRecords(weight: usize, offsets: usize, x: usize, outputs: usize, sums: usize): void {
  const p0 = weight + <usize>load<u32>(offsets);
  const p1 = weight + <usize>load<u32>(offsets, 4);
  const p2 = weight + <usize>load<u32>(offsets, 8);
  const p3 = weight + <usize>load<u32>(offsets, 12);
  const p4 = weight + <usize>load<u32>(offsets, 16);
  const p5 = weight + <usize>load<u32>(offsets, 20);
  const p6 = weight + <usize>load<u32>(offsets, 24);
  const p7 = weight + <usize>load<u32>(offsets, 28);
  const x0 = v128.load32_splat(x);
  const x1 = v128.load32_splat(x, 4);
  const x2 = v128.load32_splat(x, 8);
  const x3 = v128.load32_splat(x, 12);
  for (let j: usize = 0; j < outputs; j += 16) {
    const sum = sums + (j << 2);
    let s0 = v128.load(sum);
    let s1 = v128.load(sum, 16);
    let s2 = v128.load(sum, 32);
    let s3 = v128.load(sum, 48);
    let a = v128.load(p0 + j);
    let b = v128.load(p1 + j);
    let first = firstHalf(a, b);
    let second = secondHalf(a, b);
    s0 = plusLow(s0, first, x0);
    s1 = plusHigh(s1, first, x0);
    s2 = plusLow(s2, second, x0);
    s3 = plusHigh(s3, second, x0);
    a = v128.load(p2 + j);
    b = v128.load(p3 + j);
    first = firstHalf(a, b);
    second = secondHalf(a, b);
    s0 = plusLow(s0, first, x1);
    s1 = plusHigh(s1, first, x1);
    s2 = plusLow(s2, second, x1);
    s3 = plusHigh(s3, second, x1);
    a = v128.load(p4 + j);
    b = v128.load(p5 + j);
    first = firstHalf(a, b);
    second = secondHalf(a, b);
    s0 = plusLow(s0, first, x2);
    s1 = plusHigh(s1, first, x2);
    s2 = plusLow(s2, second, x2);
    s3 = plusHigh(s3, second, x2);
    a = v128.load(p6 + j);
    b = v128.load(p7 + j);
    first = firstHalf(a, b);
    second = secondHalf(a, b);
    s0 = plusLow(s0, first, x3);
    s1 = plusHigh(s1, first, x3);
    s2 = plusLow(s2, second, x3);
    s3 = plusHigh(s3, second, x3);
    v128.store(sum, s0);
    v128.store(sum, s1, 16);
    v128.store(sum, s2, 32);
    v128.store(sum, s3, 48);
  }
}

// Adds up the parts: output = sum · rowScale · activationScale (+ bias). Threads divide the outputs.
// words: rows* (0 or 1), parts, partStride, outputs (a multiple of 32), rowScales, activationScale, bias (0: none), output
export function finishRecords(args: usize, thread: i32, threads: i32): void {
  if (load<i32>(ptr(args, 0)) == 0) return;
  const vectors = int(args, 3) >> 2;
  const end = <usize>((vectors * (thread + 1)) / threads) << 4;
  const sums = ptr(args, 1);
  const bias = ptr(args, 6);
  const factor = v128.load32_splat(ptr(args, 5));
  for (let j = <usize>((vectors * thread) / threads) << 4; j < end; j += 16) {
    let sum = v128.load(sums + j);
    for (let part = 1; part < threads; part++) sum = i32x4.add(sum, v128.load(sums + <usize>part * ptr(args, 2) + j));
    const y = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(sum), v128.load(ptr(args, 4) + j)), factor);
    v128.store(ptr(args, 7) + j, bias ? f32x4.add(y, v128.load(bias + j)) : y);
  }
}

// Several rows: each thread turns 32 outputs of all channels into a tile, which then serves all rows.
// words: those of linearInt8, recordBytes, tilesOfThreads, tileStride
export function recordsInt8Rows(args: usize, thread: i32, threads: i32): void {
  const pairs = ptr(args, 5);
  const tiles = int(args, 6);
  const own = ptr(args, 16) + <usize>thread * ptr(args, 17);
  const counter = dealer(ptr(args, 13), ptr(args, 14), load<i32>(ptr(args, 0)));
  let tile = firstUnit(counter, tiles, thread, threads);
  while (tile < tiles) {
    packTile(ptr(args, 4) + (<usize>tile << 5), ptr(args, 15), pairs, own);
    tileOfRows(args, own, <usize>tile, thread);
    tile = nextUnit(counter, tile, tiles, thread, threads);
  }
}

function packTile(from: usize, recordBytes: usize, pairs: usize, to: usize): void {
  for (const end = to + pairs * LINE; to < end; to += LINE) {
    const next = from + recordBytes;
    const a = v128.load(from);
    const b = v128.load(next);
    const c = v128.load(from, 16);
    const d = v128.load(next, 16);
    v128.store(to, firstHalf(a, b));
    v128.store(to, secondHalf(a, b), 16);
    v128.store(to, firstHalf(c, d), 32);
    v128.store(to, secondHalf(c, d), 48);
    from = next + recordBytes;
  }
}
