import { exp4 } from './exp';
import { float, int, ptr, sumLanes } from './args';

// Keys and values of one layer and slot: float32 [capacity, kvWidth], dense.

// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvWidth, key, keyStride, value, valueStride
export function kvWrite(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const bytes = <usize>int(args, 6) << 2;
  for (let row = thread; row < rows; row += threads) {
    const slot = <usize>load<i32>(ptr(args, 1) + (<usize>row << 2));
    const position = <usize>load<i32>(ptr(args, 2) + (<usize>row << 2));
    const to = ptr(ptr(args, 3), slot) + ptr(args, 4) + position * bytes;
    memory.copy(to, ptr(args, 7) + <usize>row * <usize>int(args, 8), bytes);
    memory.copy(to + ptr(args, 5), ptr(args, 9) + <usize>row * <usize>int(args, 10), bytes);
  }
}

// One thread computes one head of one row, over all positions in order: the sums do not depend on the number of threads or rows.
// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvWidth, query, queryStride, output, outputStride,
//        heads, headsPerKvHead, headDim, scale, scores, scoresStride
export function attention(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const rowBytes = <usize>int(args, 6) << 2;
  const heads = int(args, 11);
  const perKvHead = int(args, 12);
  const headBytes = <usize>int(args, 13) << 2;
  const scale = float(args, 14);
  const scores = ptr(args, 15) + <usize>thread * <usize>int(args, 16);
  for (let unit = thread; unit < rows * heads; unit += threads) {
    const row = <usize>(unit / heads);
    const head = unit % heads;
    const slot = <usize>load<i32>(ptr(args, 1) + (row << 2));
    const length = load<i32>(ptr(args, 2) + (row << 2)) + 1;
    const keys = ptr(ptr(args, 3), slot) + ptr(args, 4) + <usize>(head / perKvHead) * headBytes;
    const query = ptr(args, 7) + row * <usize>int(args, 8) + <usize>head * headBytes;
    const output = ptr(args, 9) + row * <usize>int(args, 10) + <usize>head * headBytes;
    scoreAll(query, keys, rowBytes, headBytes, length, scale, scores);
    const total = softmaxUnscaled(scores, length);
    mix(scores, length, keys + ptr(args, 5), rowBytes, headBytes, <f32>1 / total, output);
  }
}

function scoreAll(query: usize, keys: usize, rowBytes: usize, headBytes: usize, length: i32, scale: f32, scores: usize): void {
  for (let position = 0; position < length; position++) {
    const key = keys + <usize>position * rowBytes;
    let a = f32x4.splat(0);
    for (let i: usize = 0; i < headBytes; i += 16) {
      a = f32x4.add(a, f32x4.mul(v128.load(query + i), v128.load(key + i)));
    }
    store<f32>(scores + (<usize>position << 2), sumLanes(a) * scale);
  }
}

/** scores := e^(score - largest); returns their sum. */
function softmaxUnscaled(scores: usize, length: i32): f32 {
  let largest: f32 = -Infinity;
  const end = <usize>length << 2;
  for (let i: usize = 0; i < end; i += 4) largest = max<f32>(largest, load<f32>(scores + i));
  // The last vector may reach behind the length: -Infinity there adds nothing.
  for (let i = end; i < ((end + 15) & ~15); i += 4) store<f32>(scores + i, -Infinity);
  const shift = f32x4.splat(largest);
  let sums = f32x4.splat(0);
  for (let i: usize = 0; i < end; i += 16) {
    const e = exp4(f32x4.sub(v128.load(scores + i), shift));
    v128.store(scores + i, e);
    sums = f32x4.add(sums, e);
  }
  return sumLanes(sums);
}

function mix(weights: usize, length: i32, values: usize, rowBytes: usize, headBytes: usize, factor: f32, output: usize): void {
  let i: usize = 0;
  for (; i + 64 <= headBytes; i += 64) {
    let a = f32x4.splat(0);
    let b = a;
    let c = a;
    let d = a;
    let value = values + i;
    for (let position = 0; position < length; position++) {
      const w = v128.load32_splat(weights + (<usize>position << 2));
      a = f32x4.add(a, f32x4.mul(w, v128.load(value)));
      b = f32x4.add(b, f32x4.mul(w, v128.load(value, 16)));
      c = f32x4.add(c, f32x4.mul(w, v128.load(value, 32)));
      d = f32x4.add(d, f32x4.mul(w, v128.load(value, 48)));
      value += rowBytes;
    }
    const f = f32x4.splat(factor);
    v128.store(output + i, f32x4.mul(a, f));
    v128.store(output + i, f32x4.mul(b, f), 16);
    v128.store(output + i, f32x4.mul(c, f), 32);
    v128.store(output + i, f32x4.mul(d, f), 48);
  }
  for (; i < headBytes; i += 16) {
    let a = f32x4.splat(0);
    for (let position = 0; position < length; position++) {
      a = f32x4.add(a, f32x4.mul(v128.load32_splat(weights + (<usize>position << 2)), v128.load(values + i + <usize>position * rowBytes)));
    }
    v128.store(output + i, f32x4.mul(a, f32x4.splat(factor)));
  }
}
