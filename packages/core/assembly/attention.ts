import { exp4 } from './exp';
import { float, int, ptr, sumLanes } from './args';

// Keys and values of one layer and slot: float32 [capacity / 16, kvHeads, 16, headDim]. A head's positions lie in runs, which is what
// memory reads fast, and memory is used from the front as a sequence grows.
const BLOCK: usize = 16;

// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, key, keyStride, value, valueStride
export function kvWrite(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const heads = ptr(args, 6);
  const headBytes = ptr(args, 7) << 2;
  for (let row = thread; row < rows; row += threads) {
    const slot = <usize>load<i32>(ptr(args, 1) + (<usize>row << 2));
    const position = <usize>load<i32>(ptr(args, 2) + (<usize>row << 2));
    const key = ptr(args, 8) + <usize>row * ptr(args, 9);
    const value = ptr(args, 10) + <usize>row * ptr(args, 11);
    let to = ptr(ptr(args, 3), slot) + ptr(args, 4);
    to += ((position / BLOCK) * heads * BLOCK + position % BLOCK) * headBytes;
    for (let at: usize = 0; at < heads * headBytes; at += headBytes) {
      copyHead(to, key + at, headBytes);
      copyHead(to + ptr(args, 5), value + at, headBytes);
      to += headBytes * BLOCK;
    }
  }
}

function copyHead(to: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += 16) v128.store(to + i, v128.load(from + i));
}

// One thread computes one head of one row, over all positions in order: the sums do not depend on the number of threads or rows.
// Threads divide the heads, and then the rows.
// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, query, queryStride, output, outputStride,
//        heads, scale, scores, scoresStride
// Scores of a thread: 128 bytes of partial sums, then float32 per position with room for 8 more.
export function attention(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const headBytes = ptr(args, 7) << 2;
  const heads = int(args, 12);
  const perKvHead = heads / int(args, 6);
  const scale = f32x4.splat(float(args, 13));
  const partial = ptr(args, 14) + <usize>thread * ptr(args, 15);
  const scores = partial + 128;
  const run = headBytes * BLOCK;
  const block = run * ptr(args, 6);
  const end = (rows * heads * (thread + 1)) / threads;
  for (let unit = (rows * heads * thread) / threads; unit < end; unit++) {
    const row = <usize>(unit % rows);
    const head = unit / rows;
    const slot = <usize>load<i32>(ptr(args, 1) + (row << 2));
    const length = load<i32>(ptr(args, 2) + (row << 2)) + 1;
    const keys = ptr(ptr(args, 3), slot) + ptr(args, 4) + <usize>(head / perKvHead) * run;
    const query = ptr(args, 8) + row * ptr(args, 9) + <usize>head * headBytes;
    const output = ptr(args, 10) + row * ptr(args, 11) + <usize>head * headBytes;
    for (let position = 0; position < length; position += 4) {
      const key = keys + (<usize>position / BLOCK) * block + (<usize>position % BLOCK) * headBytes;
      partialScores(query, key, headBytes, partial);
      v128.store(scores + (<usize>position << 2), f32x4.mul(sumEach(partial), scale));
    }
    const total = softmaxUnscaled(scores, length);
    mix(scores, length, keys + ptr(args, 5), block, headBytes, <f32>1 / total, output);
  }
}

// Products of a query with the keys of 4 positions, each as 8 partial sums. Positions behind the last are computed and dropped.
function partialScores(query: usize, key: usize, headBytes: usize, to: usize): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  const second = key + headBytes;
  const third = second + headBytes;
  const fourth = third + headBytes;
  const end = headBytes & ~31;
  for (let i: usize = 0; i < end; i += 32) {
    const q0 = v128.load(query + i);
    const q1 = v128.load(query + i, 16);
    a0 = f32x4.add(a0, f32x4.mul(q0, v128.load(key + i)));
    a1 = f32x4.add(a1, f32x4.mul(q1, v128.load(key + i, 16)));
    b0 = f32x4.add(b0, f32x4.mul(q0, v128.load(second + i)));
    b1 = f32x4.add(b1, f32x4.mul(q1, v128.load(second + i, 16)));
    c0 = f32x4.add(c0, f32x4.mul(q0, v128.load(third + i)));
    c1 = f32x4.add(c1, f32x4.mul(q1, v128.load(third + i, 16)));
    d0 = f32x4.add(d0, f32x4.mul(q0, v128.load(fourth + i)));
    d1 = f32x4.add(d1, f32x4.mul(q1, v128.load(fourth + i, 16)));
  }
  v128.store(to, a0);
  v128.store(to, a1, 16);
  v128.store(to, b0, 32);
  v128.store(to, b1, 48);
  v128.store(to, c0, 64);
  v128.store(to, c1, 80);
  v128.store(to, d0, 96);
  v128.store(to, d1, 112);
  if (end == headBytes) return;
  const q = v128.load(query + end);
  v128.store(to, f32x4.add(v128.load(to), f32x4.mul(q, v128.load(key + end))));
  v128.store(to, f32x4.add(v128.load(to, 32), f32x4.mul(q, v128.load(second + end))), 32);
  v128.store(to, f32x4.add(v128.load(to, 64), f32x4.mul(q, v128.load(third + end))), 64);
  v128.store(to, f32x4.add(v128.load(to, 96), f32x4.mul(q, v128.load(fourth + end))), 96);
}

/** The sums of four times 8 numbers. */
// @ts-ignore: decorator
@inline
function sumEach(from: usize): v128 {
  const a = f32x4.add(v128.load(from), v128.load(from, 16));
  const b = f32x4.add(v128.load(from, 32), v128.load(from, 48));
  const c = f32x4.add(v128.load(from, 64), v128.load(from, 80));
  const d = f32x4.add(v128.load(from, 96), v128.load(from, 112));
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(ab, cd, 0, 1, 4, 5), i32x4.shuffle(ab, cd, 2, 3, 6, 7));
}

/** scores := e^(score - largest); returns their sum. */
function softmaxUnscaled(scores: usize, length: i32): f32 {
  const end = <usize>length << 2;
  const padded = (end + 31) & ~31;
  // -Infinity behind the length adds nothing.
  for (let i = end; i < padded; i += 4) store<f32>(scores + i, -Infinity);
  let largest = f32x4.splat(-Infinity);
  for (let i: usize = 0; i < padded; i += 16) largest = f32x4.max(largest, v128.load(scores + i));
  const most = max<f32>(
    max<f32>(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1)),
    max<f32>(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3)),
  );
  const shift = f32x4.splat(most);
  for (let i: usize = 0; i < padded; i += 32) {
    const a = exp4(f32x4.sub(v128.load(scores + i), shift));
    const b = exp4(f32x4.sub(v128.load(scores + i, 16), shift));
    v128.store(scores + i, a);
    v128.store(scores + i, b, 16);
  }
  let sums = f32x4.splat(0);
  for (let i: usize = 0; i < padded; i += 16) sums = f32x4.add(sums, v128.load(scores + i));
  return sumLanes(sums);
}

// The values of all positions, weighted: 32 numbers of the head at a time, then 4.
function mix(weights: usize, length: i32, values: usize, block: usize, headBytes: usize, factor: f32, output: usize): void {
  const f = f32x4.splat(factor);
  const end = weights + (<usize>length << 2);
  let i: usize = 0;
  for (; i + 128 <= headBytes; i += 128) {
    let a0 = f32x4.splat(0);
    let a1 = a0;
    let a2 = a0;
    let a3 = a0;
    let a4 = a0;
    let a5 = a0;
    let a6 = a0;
    let a7 = a0;
    let value = values + i;
    for (let at = weights, left = BLOCK; at < end; at += 4) {
      const w = v128.load32_splat(at);
      a0 = f32x4.add(a0, f32x4.mul(w, v128.load(value)));
      a1 = f32x4.add(a1, f32x4.mul(w, v128.load(value, 16)));
      a2 = f32x4.add(a2, f32x4.mul(w, v128.load(value, 32)));
      a3 = f32x4.add(a3, f32x4.mul(w, v128.load(value, 48)));
      a4 = f32x4.add(a4, f32x4.mul(w, v128.load(value, 64)));
      a5 = f32x4.add(a5, f32x4.mul(w, v128.load(value, 80)));
      a6 = f32x4.add(a6, f32x4.mul(w, v128.load(value, 96)));
      a7 = f32x4.add(a7, f32x4.mul(w, v128.load(value, 112)));
      left--;
      value += left ? headBytes : block - headBytes * (BLOCK - 1);
      left = left ? left : BLOCK;
    }
    const to = output + i;
    v128.store(to, f32x4.mul(a0, f));
    v128.store(to, f32x4.mul(a1, f), 16);
    v128.store(to, f32x4.mul(a2, f), 32);
    v128.store(to, f32x4.mul(a3, f), 48);
    v128.store(to, f32x4.mul(a4, f), 64);
    v128.store(to, f32x4.mul(a5, f), 80);
    v128.store(to, f32x4.mul(a6, f), 96);
    v128.store(to, f32x4.mul(a7, f), 112);
  }
  for (; i < headBytes; i += 16) {
    let a = f32x4.splat(0);
    let value = values + i;
    for (let at = weights, left = BLOCK; at < end; at += 4) {
      a = f32x4.add(a, f32x4.mul(v128.load32_splat(at), v128.load(value)));
      left--;
      value += left ? headBytes : block - headBytes * (BLOCK - 1);
      left = left ? left : BLOCK;
    }
    v128.store(output + i, f32x4.mul(a, f));
  }
}
