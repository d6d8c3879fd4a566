import { ptr } from './args';

// Keys and values of one layer and slot: [capacity / 16, kvHeads, 16, headDim] numbers of type T. A head's positions lie in runs, which
// is what memory reads fast, and memory is used from the front as a sequence grows. T is f32, or i16 with a float32 scale per position
// behind each run of 16.
export const BLOCK: usize = 16;

// @ts-ignore: decorator
@inline
export function runBytes<T>(headDim: usize): usize {
  return isInteger<T>() ? BLOCK * (headDim * sizeof<T>() + sizeof<f32>()) : BLOCK * headDim * sizeof<T>();
}

/** Where the scale of a position lies. */
// @ts-ignore: decorator
@inline
export function scaleOf<T>(run: usize, headDim: usize, position: usize): usize {
  return run + BLOCK * headDim * sizeof<T>() + (position % BLOCK) * sizeof<f32>();
}

// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, key, keyStride, value, valueStride
export function kvWrite(args: usize, thread: i32, threads: i32): void {
  writeRows<f32>(args, thread, threads);
}

export function kvWriteInt16(args: usize, thread: i32, threads: i32): void {
  writeRows<i16>(args, thread, threads);
}

function writeRows<T>(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const heads = ptr(args, 6);
  const headDim = ptr(args, 7);
  for (let row = thread; row < rows; row += threads) {
    const slot = <usize>load<i32>(ptr(args, 1) + (<usize>row << 2));
    const position = <usize>load<i32>(ptr(args, 2) + (<usize>row << 2));
    const key = ptr(args, 8) + <usize>row * ptr(args, 9);
    const value = ptr(args, 10) + <usize>row * ptr(args, 11);
    let run = ptr(ptr(args, 3), slot) + ptr(args, 4) + (position / BLOCK) * heads * runBytes<T>(headDim);
    for (let head: usize = 0; head < heads; head++) {
      const at = head * (headDim << 2);
      writePosition<T>(run, run + ptr(args, 5), position, key + at, value + at, headDim);
      run += runBytes<T>(headDim);
    }
  }
}

/** One head's key and value, into the runs that its position is in. */
export function writePosition<T>(keys: usize, values: usize, position: usize, key: usize, value: usize, headDim: usize): void {
  writeHead<T>(keys, position, key, headDim);
  writeHead<T>(values, position, value, headDim);
}

function writeHead<T>(run: usize, position: usize, from: usize, headDim: usize): void {
  const to = run + (position % BLOCK) * headDim * sizeof<T>();
  if (!isInteger<T>()) {
    for (let i: usize = 0; i < headDim << 2; i += 16) v128.store(to + i, v128.load(from + i));
    return;
  }
  let most = f32x4.splat(0);
  for (let i: usize = 0; i < headDim << 2; i += 16) most = f32x4.pmax(most, f32x4.abs(v128.load(from + i)));
  const largest = max<f32>(
    max<f32>(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1)),
    max<f32>(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3)),
  );
  store<f32>(scaleOf<T>(run, headDim, position), largest / 32767);
  const inverse = f32x4.splat(largest > 0 ? 32767 / largest : 0);
  for (let i: usize = 0; i < headDim; i += 4) {
    const q = i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v128.load(from + (i << 2)), inverse)));
    store<i64>(to + (i << 1), i64x2.extract_lane(i16x8.narrow_i32x4_s(q, q), 0));
  }
}
