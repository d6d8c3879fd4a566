import { two } from './balance';
import { int, ptr } from '../args';

// Float32 weights, a row per output, to int8. Padding is not written: the target is zero there before. Threads divide the rows.

const LINE: usize = 64;
// Columns at once, so that the lines that a block of rows is written to stay in the first-level cache.
const BLOCK: usize = 128;

// To the tiles of linearInt8. words: weight, outputs, inputs, channelFactors, rowScales, target
export function packTiles(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const pairs = (inputs + 1) >> 1;
  const tiles = (outputs + 31) >> 5;
  const end = (tiles * (thread + 1)) / threads;
  for (let tile = (tiles * thread) / threads; tile < end; tile++) {
    const first = tile << 5;
    const last = min<i32>(first + 32, outputs);
    const target = ptr(args, 5) + <usize>tile * pairs * LINE;
    for (let from: usize = 0; from < inputs; from += BLOCK) {
      const to = min<usize>(from + BLOCK, inputs);
      for (let out = first; out < last; out++) {
        const row = ptr(args, 0) + ((<usize>out * inputs) << 2);
        const scale = load<f32>(ptr(args, 4) + (<usize>out << 2));
        let at = target + (from >> 1) * LINE + (<usize>(out & 31) << 1);
        let i = from;
        for (; i + 2 <= to; i += 2, at += LINE) {
          const q = quantizedTwo(row + (i << 2), ptr(args, 3) + (i << 2), scale);
          store<i8>(at, i32x4.extract_lane(q, 0));
          store<i8>(at, i32x4.extract_lane(q, 1), 1);
        }
        if (i < to) store<i8>(at, quantized(row + (i << 2), ptr(args, 3) + (i << 2), scale));
      }
    }
  }
}

// To the records of recordsInt8. words: weight, outputs, inputs, channelFactors, rowScales, target, recordBytes
export function packRecords(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const recordBytes = ptr(args, 6);
  const blocks = (outputs + 31) >> 5;
  const end = min<i32>(((blocks * (thread + 1)) / threads) << 5, outputs);
  for (let first = ((blocks * thread) / threads) << 5; first < end; first += 32) {
    const last = min<i32>(first + 32, outputs);
    for (let from: usize = 0; from < inputs; from += BLOCK) {
      const to = min<usize>(from + BLOCK, inputs);
      for (let out = first; out < last; out++) {
        const row = ptr(args, 0) + ((<usize>out * inputs) << 2);
        const scale = load<f32>(ptr(args, 4) + (<usize>out << 2));
        let at = ptr(args, 5) + from * recordBytes + <usize>out;
        let i = from;
        for (; i + 2 <= to; i += 2, at += recordBytes << 1) {
          const q = quantizedTwo(row + (i << 2), ptr(args, 3) + (i << 2), scale);
          store<i8>(at, i32x4.extract_lane(q, 0));
          store<i8>(at + recordBytes, i32x4.extract_lane(q, 1));
        }
        if (i < to) store<i8>(at, quantized(row + (i << 2), ptr(args, 3) + (i << 2), scale));
      }
    }
  }
}

// To the tiles of headInt8, each group of 32 inputs by its largest number. words: weight, outputs, inputs, target, scales
export function packHead(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const groups = (inputs + 31) >> 5;
  const tiles = (outputs + 15) >> 4;
  const end = min<i32>(((tiles * (thread + 1)) / threads) << 4, outputs);
  for (let out = ((tiles * thread) / threads) << 4; out < end; out++) {
    const tile = <usize>out >> 4;
    const lane = <usize>out & 15;
    for (let group: usize = 0; group < groups; group++) {
      const from = group << 5;
      const at = ptr(args, 0) + ((<usize>out * inputs + from) << 2);
      const number = tile * groups + group;
      const scale = ptr(args, 4) + (((number << 4) + lane) << 2);
      packGroup(at, min<usize>(32, inputs - from), ptr(args, 3) + (number << 9) + (lane << 1), scale);
    }
  }
}

function packGroup(from: usize, count: usize, to: usize, scale: usize): void {
  let largest: f32 = 0;
  for (let i: usize = 0; i < count; i++) largest = max<f32>(largest, abs<f32>(load<f32>(from + (i << 2))));
  store<f32>(scale, <f32>(<f64>largest / 127));
  const factor: f64 = largest > 0 ? 127 / <f64>largest : 0;
  for (let i: usize = 0; i < count; i++) {
    const rounded = roundedUp(f64x2.splat(<f64>load<f32>(from + (i << 2)) * factor));
    store<i8>(to + ((i >> 1) << 5) + (i & 1), i32x4.extract_lane(i32x4.trunc_sat_f64x2_s_zero(rounded), 0));
  }
}

/** Two neighbours of a row as int32. */
// @ts-ignore: decorator
@inline
function quantizedTwo(from: usize, factors: usize, scale: f32): v128 {
  return clamped(f64x2.div(f64x2.mul(two(from), two(factors)), f64x2.splat(scale)));
}

// @ts-ignore: decorator
@inline
function quantized(from: usize, factor: usize, scale: f32): i32 {
  const x = (<f64>load<f32>(from) * <f64>load<f32>(factor)) / <f64>scale;
  return i32x4.extract_lane(clamped(f64x2.splat(x)), 0);
}

// @ts-ignore: decorator
@inline
function clamped(x: v128): v128 {
  const q = i32x4.trunc_sat_f64x2_s_zero(roundedUp(x));
  return i32x4.max_s(i32x4.splat(-127), i32x4.min_s(i32x4.splat(127), q));
}

/** To the nearest integer, halves upwards, as Math.round does. */
// @ts-ignore: decorator
@inline
function roundedUp(x: v128): v128 {
  const floor = f64x2.floor(x);
  const up = f64x2.ge(f64x2.sub(x, floor), f64x2.splat(0.5));
  return f64x2.add(floor, v128.and(up, f64x2.splat(1)));
}
