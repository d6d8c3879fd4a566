import { float, int, ptr } from './args';

// int16 activations of one row: q = nearest(x · channelScale / scale), scale = largest / cap. With channel lists only the alive
// channels count. Alone in its batch a row is compacted: q of the alive channels one behind the other, with the byte offsets of
// their weight records, padded to a multiple of 8 with q = 0. Otherwise dead channels are 0 in place.
// words: rows*, input, inputStride, width, channelScales (0: all 1), lists (0: dense), listStride,
//        quantized, quantizedStride, scales, cap, offsets (0: never compact), count*, recordBytes
export function quantize(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const width = int(args, 3);
  const channelScales = ptr(args, 4);
  const lists = ptr(args, 5);
  const cap = float(args, 10);
  const offsets = ptr(args, 11);
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * <usize>int(args, 2);
    const to = ptr(args, 7) + <usize>row * <usize>int(args, 8);
    const list = lists ? lists + <usize>row * <usize>int(args, 6) : 0;
    const largest = list ? largestOf(from, channelScales, list) : largestOfAll(from, channelScales, width);
    const scale: f32 = largest / cap;
    const inverse: f32 = largest > 0 ? cap / largest : 0;
    store<f32>(ptr(args, 9) + (<usize>row << 2), scale);
    if (list == 0) quantizeAll(from, channelScales, width, inverse, to);
    else if (rows == 1 && offsets != 0) compact(from, channelScales, list, inverse, to, offsets, ptr(args, 12), <usize>int(args, 13));
    else scatter(from, channelScales, list, inverse, to, width);
  }
}

// @ts-ignore: decorator
@inline
function scaled(from: usize, channelScales: usize, channel: usize): f32 {
  const x = load<f32>(from + (channel << 2));
  return channelScales ? x * load<f32>(channelScales + (channel << 2)) : x;
}

// @ts-ignore: decorator
@inline
function padded(width: i32): i32 {
  return (width + 7) & ~7;
}

function largestOfAll(from: usize, channelScales: usize, width: i32): f32 {
  let largest: f32 = 0;
  for (let i = 0; i < width; i++) largest = max<f32>(largest, abs<f32>(scaled(from, channelScales, i)));
  return largest;
}

function largestOf(from: usize, channelScales: usize, list: usize): f32 {
  const count = load<i32>(list);
  let largest: f32 = 0;
  for (let i = 1; i <= count; i++) {
    largest = max<f32>(largest, abs<f32>(scaled(from, channelScales, load<u32>(list + (<usize>i << 2)))));
  }
  return largest;
}

function quantizeAll(from: usize, channelScales: usize, width: i32, inverse: f32, to: usize): void {
  for (let i = 0; i < width; i++) {
    store<i16>(to + (<usize>i << 1), <i16>(<i32>nearest<f32>(scaled(from, channelScales, i) * inverse)));
  }
  for (let i = width; i < padded(width); i++) store<i16>(to + (<usize>i << 1), 0);
}

function scatter(from: usize, channelScales: usize, list: usize, inverse: f32, to: usize, width: i32): void {
  memory.fill(to, 0, <usize>padded(width) << 1);
  const count = load<i32>(list);
  for (let i = 1; i <= count; i++) {
    const channel = <usize>load<u32>(list + (<usize>i << 2));
    store<i16>(to + (channel << 1), <i16>(<i32>nearest<f32>(scaled(from, channelScales, channel) * inverse)));
  }
}

function compact(from: usize, channelScales: usize, list: usize, inverse: f32, to: usize, offsets: usize, counter: usize, recordBytes: usize): void {
  const count = load<i32>(list);
  for (let i = 0; i < count; i++) {
    const channel = <usize>load<u32>(list + (<usize>(i + 1) << 2));
    store<i16>(to + (<usize>i << 1), <i16>(<i32>nearest<f32>(scaled(from, channelScales, channel) * inverse)));
    store<u32>(offsets + (<usize>i << 2), <u32>(channel * recordBytes));
  }
  for (let i = count; i < padded(count); i++) {
    store<i16>(to + (<usize>i << 1), 0);
    store<u32>(offsets + (<usize>i << 2), 0);
  }
  store<i32>(counter, padded(count));
}
