import { int, ptr } from '../args';

// Scales of int8 weights, per output and per input. Float32 weights lie row by row, a row per output; every number is computed in float64
// and added in the order of rows and columns, by one thread, so that the scales do not depend on the number of threads.
//
// Rows and columns are brought to equal root mean squares in turns. With squares s, u = 1/rowMean² and v = 1/columnMean² depend on sums of
// s·v and s·u alone, so the weights are never rewritten.

// u of each row. words: weight, outputs, inputs, v (float64), u (float64)
export function balanceRows(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const v = ptr(args, 3);
  const u = ptr(args, 4);
  const end = (outputs * (thread + 1)) / threads;
  let out = (outputs * thread) / threads;
  for (; out + 4 <= end; out += 4) {
    sumFourRows(ptr(args, 0) + ((<usize>out * inputs) << 2), inputs, v, u + (<usize>out << 3));
  }
  for (; out < end; out++) {
    sumRow(ptr(args, 0) + ((<usize>out * inputs) << 2), inputs, v, u + (<usize>out << 3));
  }
}

function sumFourRows(row: usize, inputs: usize, v: usize, u: usize): void {
  const bytes = inputs << 2;
  let ab = f64x2.splat(0);
  let cd = ab;
  let at = row;
  for (const end = row + ((inputs & ~1) << 2); at < end; at += 8) {
    const factors = v128.load(v);
    const a = f64x2.mul(squares(at), factors);
    const b = f64x2.mul(squares(at + bytes), factors);
    const c = f64x2.mul(squares(at + bytes * 2), factors);
    const d = f64x2.mul(squares(at + bytes * 3), factors);
    ab = f64x2.add(f64x2.add(ab, i64x2.shuffle(a, b, 0, 2)), i64x2.shuffle(a, b, 1, 3));
    cd = f64x2.add(f64x2.add(cd, i64x2.shuffle(c, d, 0, 2)), i64x2.shuffle(c, d, 1, 3));
    v += 16;
  }
  if (inputs & 1) {
    const factor = load<f64>(v);
    ab = f64x2.add(ab, f64x2(square(at) * factor, square(at + bytes) * factor));
    cd = f64x2.add(cd, f64x2(square(at + bytes * 2) * factor, square(at + bytes * 3) * factor));
  }
  v128.store(u, inverse(ab, <f64>inputs));
  v128.store(u, inverse(cd, <f64>inputs), 16);
}

function sumRow(row: usize, inputs: usize, v: usize, u: usize): void {
  let sum: f64 = 0;
  for (const end = row + (inputs << 2); row < end; row += 4, v += 8) sum += square(row) * load<f64>(v);
  store<f64>(u, sum > 0 ? <f64>inputs / sum : 1);
}

// v of each column. words: those of balanceRows
export function balanceColumns(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const from = columnOf(inputs, thread, threads);
  const to = columnOf(inputs, thread + 1, threads);
  const v = ptr(args, 3);
  memory.fill(v + (from << 3), 0, (to - from) << 3);
  let out = 0;
  for (; out + 4 <= outputs; out += 4) addFourRows(ptr(args, 0), inputs, out, from, to, ptr(args, 4), v);
  for (; out < outputs; out++) addRow(ptr(args, 0), inputs, out, from, to, ptr(args, 4), v);
  for (let i = from; i < to; i++) {
    const sum = load<f64>(v + (i << 3));
    store<f64>(v + (i << 3), sum > 0 ? <f64>outputs / sum : 1);
  }
}

/** The first column of a thread. Shares are of whole lines of v. */
// @ts-ignore: decorator
@inline
export function columnOf(inputs: usize, thread: i32, threads: i32): usize {
  const lines = (inputs + 7) >> 3;
  return min<usize>(((lines * <usize>thread) / <usize>threads) << 3, inputs);
}

function addFourRows(weight: usize, inputs: usize, out: i32, from: usize, to: usize, u: usize, v: usize): void {
  const bytes = inputs << 2;
  const row = weight + <usize>out * bytes;
  const factors = u + (<usize>out << 3);
  const a = v128.load64_splat(factors);
  const b = v128.load64_splat(factors, 8);
  const c = v128.load64_splat(factors, 16);
  const d = v128.load64_splat(factors, 24);
  let i = from;
  for (; i + 2 <= to; i += 2) {
    const at = row + (i << 2);
    let sum = f64x2.add(v128.load(v + (i << 3)), f64x2.mul(squares(at), a));
    sum = f64x2.add(sum, f64x2.mul(squares(at + bytes), b));
    sum = f64x2.add(sum, f64x2.mul(squares(at + bytes * 2), c));
    sum = f64x2.add(sum, f64x2.mul(squares(at + bytes * 3), d));
    v128.store(v + (i << 3), sum);
  }
  for (let last = 0; i < to && last < 4; last++) addColumn(row + <usize>last * bytes, i, factors + (<usize>last << 3), v);
}

function addRow(weight: usize, inputs: usize, out: i32, from: usize, to: usize, u: usize, v: usize): void {
  const row = weight + ((<usize>out * inputs) << 2);
  for (let i = from; i < to; i++) addColumn(row, i, u + (<usize>out << 3), v);
}

// @ts-ignore: decorator
@inline
function addColumn(row: usize, i: usize, factor: usize, v: usize): void {
  store<f64>(v + (i << 3), load<f64>(v + (i << 3)) + square(row + (i << 2)) * load<f64>(factor));
}

// Scales of the channels. words: inputs, v, channelScales (float32)
export function balanceScales(args: usize, thread: i32, threads: i32): void {
  const inputs = ptr(args, 0);
  for (let i = columnOf(inputs, thread, threads); i < columnOf(inputs, thread + 1, threads); i++) {
    store<f32>(ptr(args, 2) + (i << 2), <f32>(1 / sqrt<f64>(load<f64>(ptr(args, 1) + (i << 3)))));
  }
}

// Each row's largest number becomes 127. words: weight, outputs, inputs, channelScales, largest (float64, per row), rowScales (float32)
export function balanceLargest(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const scales = ptr(args, 3);
  const end = (outputs * (thread + 1)) / threads;
  for (let out = (outputs * thread) / threads; out < end; out++) {
    const row = ptr(args, 0) + ((<usize>out * inputs) << 2);
    let most = f64x2.splat(0);
    let i: usize = 0;
    for (; i + 2 <= inputs; i += 2) most = f64x2.max(most, scaledTwo(row, scales, i));
    let largest = max<f64>(f64x2.extract_lane(most, 0), f64x2.extract_lane(most, 1));
    if (i < inputs) largest = max<f64>(largest, scaled(row, scales, i));
    store<f64>(ptr(args, 4) + (<usize>out << 3), largest);
    store<f32>(ptr(args, 5) + (<usize>out << 2), largest == 0 ? 1 : <f32>(largest / 127));
  }
}

// A channel that nowhere comes near the largest number of its rows gets a finer scale, at no cost to the others.
// words: weight, outputs, inputs, channelScales, largest, reach (float64, per channel), channelFactors (float32: 1 / channelScale)
export function balanceReach(args: usize, thread: i32, threads: i32): void {
  const outputs = int(args, 1);
  const inputs = ptr(args, 2);
  const scales = ptr(args, 3);
  const reach = ptr(args, 5);
  const from = columnOf(inputs, thread, threads);
  const to = columnOf(inputs, thread + 1, threads);
  memory.fill(reach + (from << 3), 0, (to - from) << 3);
  for (let out = 0; out < outputs; out++) {
    const row = ptr(args, 0) + ((<usize>out * inputs) << 2);
    const largest = load<f64>(ptr(args, 4) + (<usize>out << 3));
    if (largest == 0) continue;
    let i = from;
    for (; i + 2 <= to; i += 2) {
      const share = f64x2.div(scaledTwo(row, scales, i), f64x2.splat(largest));
      v128.store(reach + (i << 3), f64x2.max(v128.load(reach + (i << 3)), share));
    }
    if (i < to) store<f64>(reach + (i << 3), max<f64>(load<f64>(reach + (i << 3)), scaled(row, scales, i) / largest));
  }
  for (let i = from; i < to; i++) {
    const most = <f32>load<f64>(reach + (i << 3));
    const scale = load<f32>(scales + (i << 2)) * (most > 0 ? most : 1);
    store<f32>(scales + (i << 2), scale);
    store<f32>(ptr(args, 6) + (i << 2), <f32>1 / scale);
  }
}

// @ts-ignore: decorator
@inline
function square(at: usize): f64 {
  const x = <f64>load<f32>(at);
  return x * x;
}

// @ts-ignore: decorator
@inline
function squares(at: usize): v128 {
  const x = two(at);
  return f64x2.mul(x, x);
}

/** Two float32 numbers as float64. */
// @ts-ignore: decorator
@inline
export function two(at: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(at));
}

// @ts-ignore: decorator
@inline
function inverse(sums: v128, count: f64): v128 {
  const one = f64x2.splat(1);
  return v128.bitselect(f64x2.div(f64x2.splat(count), sums), one, f64x2.gt(sums, f64x2.splat(0)));
}

// @ts-ignore: decorator
@inline
function scaled(row: usize, scales: usize, i: usize): f64 {
  return abs<f64>(<f64>load<f32>(row + (i << 2)) / <f64>load<f32>(scales + (i << 2)));
}

// @ts-ignore: decorator
@inline
function scaledTwo(row: usize, scales: usize, i: usize): v128 {
  return f64x2.abs(f64x2.div(two(row + (i << 2)), two(scales + (i << 2))));
}
