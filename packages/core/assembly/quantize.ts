import { float, int, ptr } from './args';

// int16 activations of one row: q = nearest(x · channelScale / scale), scale = largest / cap. With channel lists only the alive
// channels count, and the dead ones are 0.
// words: rows*, input, inputStride, width, channelScales (0: all 1), lists (0: dense), listStride, quantized, quantizedStride, scales, cap
export function quantize(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const width = int(args, 3);
  const channelScales = ptr(args, 4);
  const cap = float(args, 10);
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * ptr(args, 2);
    const to = ptr(args, 7) + <usize>row * ptr(args, 8);
    let list = ptr(args, 5) ? ptr(args, 5) + <usize>row * ptr(args, 6) : 0;
    if (list && load<i32>(list) == width) list = 0;
    const largest = list ? largestOf(from, channelScales, list) : largestOfAll(from, channelScales, width);
    store<f32>(ptr(args, 9) + (<usize>row << 2), largest / cap);
    const inverse: f32 = largest > 0 ? cap / largest : 0;
    if (list) scatter(from, channelScales, list, inverse, to, width);
    else quantizeAll(from, channelScales, width, inverse, to);
  }
}

// The same for a single row and weights in records: the int16 of the alive channels, one behind the other, with the byte offset of each channel's record.
// Padded with zeros to a multiple of 8, and 8 more offsets, which are read ahead.
// words: rows* (0 or 1), input, channelScales (0: all 1), list, quantized, offsets, count*, scale, cap, recordBytes
export function quantizeRecords(args: usize, thread: i32, threads: i32): void {
  if (load<i32>(ptr(args, 0)) == 0) return;
  const from = ptr(args, 1);
  const channelScales = ptr(args, 2);
  const list = ptr(args, 3);
  const to = ptr(args, 4);
  const offsets = ptr(args, 5);
  const cap = float(args, 8);
  const largest = largestOf(from, channelScales, list);
  store<f32>(ptr(args, 7), largest / cap);
  const inverse: f32 = largest > 0 ? cap / largest : 0;
  const count = load<usize>(list);
  for (let i: usize = 0; i < count; i++) {
    const channel = load<usize>(list + ((i + 1) << 2));
    store<i16>(to + (i << 1), rounded(from, channelScales, channel, inverse));
    store<u32>(offsets + (i << 2), <u32>(channel * ptr(args, 9)));
  }
  const padded = (count + 7) & ~7;
  for (let i = count; i < padded; i++) store<i16>(to + (i << 1), 0);
  for (let i = count; i < padded + 8; i++) store<u32>(offsets + (i << 2), 0);
  store<i32>(ptr(args, 6), <i32>padded);
}

// @ts-ignore: decorator
@inline
function scaled(from: usize, channelScales: usize, channel: usize): f32 {
  const x = load<f32>(from + (channel << 2));
  return channelScales ? x * load<f32>(channelScales + (channel << 2)) : x;
}

// @ts-ignore: decorator
@inline
function scaled4(from: usize, channelScales: usize, at: usize): v128 {
  const x = v128.load(from + at);
  return channelScales ? f32x4.mul(x, v128.load(channelScales + at)) : x;
}

// @ts-ignore: decorator
@inline
function rounded(from: usize, channelScales: usize, channel: usize, inverse: f32): i16 {
  return <i16>(<i32>nearest<f32>(scaled(from, channelScales, channel) * inverse));
}

// Magnitudes compare like their bits, which takes one instruction; the bits of a NaN are above all others.
function largestOfAll(from: usize, channelScales: usize, width: i32): f32 {
  const mask = i32x4.splat(0x7fffffff);
  let most = i32x4.splat(0);
  const vectors = <usize>(width & ~3) << 2;
  for (let at: usize = 0; at < vectors; at += 16) most = i32x4.max_s(most, v128.and(scaled4(from, channelScales, at), mask));
  let one = max<f32>(
    max<f32>(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max<f32>(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  for (let i = width & ~3; i < width; i++) one = max<f32>(one, abs<f32>(scaled(from, channelScales, i)));
  return one;
}

function largestOf(from: usize, channelScales: usize, list: usize): f32 {
  const end = list + ((load<usize>(list) + 1) << 2);
  let a: f32 = 0;
  let b: f32 = 0;
  let at = list + 4;
  for (; at + 4 < end; at += 8) {
    a = max<f32>(a, abs<f32>(scaled(from, channelScales, load<u32>(at))));
    b = max<f32>(b, abs<f32>(scaled(from, channelScales, load<u32>(at, 4))));
  }
  if (at < end) a = max<f32>(a, abs<f32>(scaled(from, channelScales, load<u32>(at))));
  return max<f32>(a, b);
}

function quantizeAll(from: usize, channelScales: usize, width: i32, inverse: f32, to: usize): void {
  const factor = f32x4.splat(inverse);
  let i = 0;
  for (; i + 16 <= width; i += 16) {
    const at = <usize>i << 2;
    const a = eight(from, channelScales, at, factor);
    const b = eight(from, channelScales, at + 32, factor);
    v128.store(to + (<usize>i << 1), a);
    v128.store(to + (<usize>i << 1), b, 16);
  }
  for (; i < width; i++) store<i16>(to + (<usize>i << 1), rounded(from, channelScales, i, inverse));
  // Up to a whole group of 32.
  for (; i & 31; i++) store<i16>(to + (<usize>i << 1), 0);
}

// @ts-ignore: decorator
@inline
function eight(from: usize, channelScales: usize, at: usize, factor: v128): v128 {
  return i16x8.narrow_i32x4_s(
    nearest4(f32x4.mul(scaled4(from, channelScales, at), factor)),
    nearest4(f32x4.mul(scaled4(from, channelScales, at + 16), factor)),
  );
}

// Adding 1.5 · 2^23 leaves no bits behind the point, rounded to even, and the integer in the low bits: for magnitudes below 2^22.
// @ts-ignore: decorator
@inline
function nearest4(x: v128): v128 {
  return i32x4.sub(f32x4.add(x, f32x4.splat(12582912)), i32x4.splat(0x4b400000));
}

function scatter(from: usize, channelScales: usize, list: usize, inverse: f32, to: usize, width: i32): void {
  memory.fill(to, 0, <usize>((width + 31) & ~31) << 1);
  const count = load<i32>(list);
  for (let i = 1; i <= count; i++) {
    const channel = <usize>load<u32>(list + (<usize>i << 2));
    store<i16>(to + (channel << 1), rounded(from, channelScales, channel, inverse));
  }
}
