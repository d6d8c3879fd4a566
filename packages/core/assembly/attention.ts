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

// Rows that go through a run of keys or values together, while it is in the first-level cache.
const GROUP: i32 = 8;

// One thread computes one head of a row, over all positions in order: the sums do not depend on the number of threads or rows.
// Threads divide the heads, and then groups of rows.
// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, query, queryStride, output, outputStride,
//        heads, scale, scores, scoresStride
// Scores of a thread: 8 rows of float32 per position, with room for 8 more, scoresStride bytes apart; then 128 bytes of partial sums.
export function attention(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const groups = (rows + GROUP - 1) / GROUP;
  const units = groups * int(args, 12);
  const end = (units * (thread + 1)) / threads;
  for (let unit = (units * thread) / threads; unit < end; unit++) {
    const from = (unit % groups) * GROUP;
    groupOfRows(args, from, min<i32>(from + GROUP, rows), unit / groups, thread);
  }
}

function groupOfRows(args: usize, from: i32, to: i32, head: i32, thread: i32): void {
  const headBytes = ptr(args, 7) << 2;
  const run = headBytes * BLOCK;
  const block = run * ptr(args, 6);
  const scale = f32x4.splat(float(args, 13));
  const stride = ptr(args, 15);
  const scores = ptr(args, 14) + <usize>thread * (stride * GROUP + 128);
  const partial = scores + stride * GROUP;
  const inSlot = ptr(args, 4) + <usize>(head / (int(args, 12) / int(args, 6))) * run;
  let longest = 0;
  for (let row = from; row < to; row++) longest = max<i32>(longest, lengthOf(args, row));
  for (let first = 0; first < longest; first += <i32>BLOCK) {
    for (let row = from; row < to; row++) {
      const query = ptr(args, 8) + <usize>row * ptr(args, 9) + <usize>head * headBytes;
      const last = min<i32>(lengthOf(args, row), first + <i32>BLOCK);
      let key = slotOf(args, row) + inSlot + (<usize>first / BLOCK) * block;
      for (let position = first; position < last; position += 4) {
        partialScores(query, key, headBytes, partial);
        v128.store(scores + <usize>(row - from) * stride + (<usize>position << 2), f32x4.mul(sumEach(partial), scale));
        key += headBytes << 2;
      }
    }
  }
  for (let row = from; row < to; row++) {
    const sum = softmaxUnscaled(scores + <usize>(row - from) * stride, lengthOf(args, row));
    store<f32>(partial + (<usize>(row - from) << 2), <f32>1 / sum);
    memory.fill(outputOf(args, row, head), 0, headBytes);
  }
  for (let first = 0; first < longest; first += <i32>BLOCK) {
    for (let row = from; row < to; row++) {
      const count = min<i32>(lengthOf(args, row) - first, <i32>BLOCK);
      if (count <= 0) continue;
      const values = slotOf(args, row) + inSlot + ptr(args, 5) + (<usize>first / BLOCK) * block;
      mix(scores + <usize>(row - from) * stride + (<usize>first << 2), count, values, headBytes, outputOf(args, row, head));
    }
  }
  for (let row = from; row < to; row++) {
    const factor = v128.load32_splat(partial + (<usize>(row - from) << 2));
    const output = outputOf(args, row, head);
    for (let i: usize = 0; i < headBytes; i += 16) v128.store(output + i, f32x4.mul(v128.load(output + i), factor));
  }
}

// @ts-ignore: decorator
@inline
function lengthOf(args: usize, row: i32): i32 {
  return load<i32>(ptr(args, 2) + (<usize>row << 2)) + 1;
}

// @ts-ignore: decorator
@inline
function slotOf(args: usize, row: i32): usize {
  return ptr(ptr(args, 3), load<u32>(ptr(args, 1) + (<usize>row << 2)));
}

// @ts-ignore: decorator
@inline
function outputOf(args: usize, row: i32, head: i32): usize {
  return ptr(args, 10) + <usize>row * ptr(args, 11) + <usize>head * (ptr(args, 7) << 2);
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
    a0 = f32x4.relaxed_madd(q0, v128.load(key + i), a0);
    a1 = f32x4.relaxed_madd(q1, v128.load(key + i, 16), a1);
    b0 = f32x4.relaxed_madd(q0, v128.load(second + i), b0);
    b1 = f32x4.relaxed_madd(q1, v128.load(second + i, 16), b1);
    c0 = f32x4.relaxed_madd(q0, v128.load(third + i), c0);
    c1 = f32x4.relaxed_madd(q1, v128.load(third + i, 16), c1);
    d0 = f32x4.relaxed_madd(q0, v128.load(fourth + i), d0);
    d1 = f32x4.relaxed_madd(q1, v128.load(fourth + i, 16), d1);
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
  v128.store(to, f32x4.relaxed_madd(q, v128.load(key + end), v128.load(to)));
  v128.store(to, f32x4.relaxed_madd(q, v128.load(second + end), v128.load(to, 32)), 32);
  v128.store(to, f32x4.relaxed_madd(q, v128.load(third + end), v128.load(to, 64)), 64);
  v128.store(to, f32x4.relaxed_madd(q, v128.load(fourth + end), v128.load(to, 96)), 96);
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

// Adds the values of some positions, weighted, to the output: 32 numbers of the head at a time, then 4.
function mix(weights: usize, count: i32, values: usize, headBytes: usize, output: usize): void {
  const end = weights + (<usize>count << 2);
  let i: usize = 0;
  for (; i + 128 <= headBytes; i += 128) {
    const to = output + i;
    let a0 = v128.load(to);
    let a1 = v128.load(to, 16);
    let a2 = v128.load(to, 32);
    let a3 = v128.load(to, 48);
    let a4 = v128.load(to, 64);
    let a5 = v128.load(to, 80);
    let a6 = v128.load(to, 96);
    let a7 = v128.load(to, 112);
    let value = values + i;
    for (let at = weights; at < end; at += 4) {
      const w = v128.load32_splat(at);
      a0 = f32x4.relaxed_madd(w, v128.load(value), a0);
      a1 = f32x4.relaxed_madd(w, v128.load(value, 16), a1);
      a2 = f32x4.relaxed_madd(w, v128.load(value, 32), a2);
      a3 = f32x4.relaxed_madd(w, v128.load(value, 48), a3);
      a4 = f32x4.relaxed_madd(w, v128.load(value, 64), a4);
      a5 = f32x4.relaxed_madd(w, v128.load(value, 80), a5);
      a6 = f32x4.relaxed_madd(w, v128.load(value, 96), a6);
      a7 = f32x4.relaxed_madd(w, v128.load(value, 112), a7);
      value += headBytes;
    }
    v128.store(to, a0);
    v128.store(to, a1, 16);
    v128.store(to, a2, 32);
    v128.store(to, a3, 48);
    v128.store(to, a4, 64);
    v128.store(to, a5, 80);
    v128.store(to, a6, 96);
    v128.store(to, a7, 112);
  }
  for (; i < headBytes; i += 16) {
    let a = v128.load(output + i);
    let value = values + i;
    for (let at = weights; at < end; at += 4) {
      a = f32x4.relaxed_madd(v128.load32_splat(at), v128.load(value), a);
      value += headBytes;
    }
    v128.store(output + i, a);
  }
}
