import { exp4 } from './exp';
import { dealer, firstUnit, float, int, nextUnit, ptr, sumLanes } from './args';
import { BLOCK, runBytes, scaleOf } from './kv';

// Rows that go through a run of keys or values together, while it is in the first-level cache.
const GROUP: i32 = 8;

// One thread computes one head of a row, over all positions in order: the sums do not depend on the number of threads or rows.
// words: rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, query, queryStride, output, outputStride,
//        heads, scale, scores, scoresStride, counter*, next counter* (0: none)
// Scores of a thread: 8 rows of float32 per position, with room for 8 more, scoresStride bytes apart; then 128 bytes of partial sums.
export function attention(args: usize, thread: i32, threads: i32): void {
  attend<f32>(args, thread, threads);
}

export function attentionInt16(args: usize, thread: i32, threads: i32): void {
  attend<i16>(args, thread, threads);
}

function attend<T>(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const heads = int(args, 12);
  const counter = dealer(ptr(args, 16), ptr(args, 17), rows);
  // Few rows are most likely of different slots, and go row by row, so that threads share no keys and values; many are of a prompt.
  const size = counter ? GROUP : 1;
  const groups = (rows + size - 1) / size;
  const units = groups * heads;
  let unit = firstUnit(counter, units, thread, threads);
  while (unit < units) {
    const head = counter ? unit / groups : unit % heads;
    const first = (counter ? unit % groups : unit / heads) * size;
    const end = min<i32>(first + size, rows);
    for (let from = first, to = first; from < end; from = to) {
      for (to = from + 1; to < end && slotOf(args, to) == slotOf(args, from); ) to++;
      groupOfRows<T>(args, from, to, head, thread);
    }
    unit = nextUnit(counter, unit, units, thread, threads);
  }
}

function groupOfRows<T>(args: usize, from: i32, to: i32, head: i32, thread: i32): void {
  const headDim = ptr(args, 7);
  const block = runBytes<T>(headDim) * ptr(args, 6);
  const scale = f32x4.splat(float(args, 13));
  const stride = ptr(args, 15);
  const scores = ptr(args, 14) + <usize>thread * (stride * GROUP + 128);
  const partial = scores + stride * GROUP;
  const inSlot = ptr(args, 4) + <usize>(head / (int(args, 12) / int(args, 6))) * runBytes<T>(headDim);
  let longest = 0;
  for (let row = from; row < to; row++) longest = max<i32>(longest, lengthOf(args, row));
  for (let first = 0; first < longest; first += <i32>BLOCK) {
    for (let row = from; row < to; row++) {
      const query = ptr(args, 8) + <usize>row * ptr(args, 9) + (<usize>head * headDim << 2);
      const last = min<i32>(lengthOf(args, row), first + <i32>BLOCK);
      const run = slotOf(args, row) + inSlot + (<usize>first / BLOCK) * block;
      const rowScores = scores + <usize>(row - from) * stride;
      for (let position = first; position < last; position += 4) {
        partialScores<T>(query, run + (<usize>position % BLOCK) * headDim * sizeof<T>(), headDim, partial);
        let score = f32x4.mul(sumEach(partial), scale);
        if (isInteger<T>()) score = f32x4.mul(score, v128.load(scaleOf<T>(run, headDim, position)));
        v128.store(rowScores + (<usize>position << 2), score);
      }
    }
  }
  for (let row = from; row < to; row++) {
    const sum = softmaxUnscaled(scores + <usize>(row - from) * stride, lengthOf(args, row));
    store<f32>(partial + (<usize>(row - from) << 2), <f32>1 / sum);
    memory.fill(outputOf(args, row, head), 0, headDim << 2);
  }
  for (let first = 0; first < longest; first += <i32>BLOCK) {
    for (let row = from; row < to; row++) {
      const count = min<i32>(lengthOf(args, row) - first, <i32>BLOCK);
      if (count <= 0) continue;
      const run = slotOf(args, row) + inSlot + ptr(args, 5) + (<usize>first / BLOCK) * block;
      const weights = scores + <usize>(row - from) * stride + (<usize>first << 2);
      if (isInteger<T>()) scaleWeights(weights, scaleOf<T>(run, headDim, 0));
      const output = outputOf(args, row, head);
      // The next row goes with this one where it reads the same values, all 16 of them.
      const pairs = count == <i32>BLOCK && row + 1 < to && slotOf(args, row + 1) == slotOf(args, row);
      if (pairs && lengthOf(args, row + 1) - first >= <i32>BLOCK) {
        if (isInteger<T>()) scaleWeights(weights + stride, scaleOf<T>(run, headDim, 0));
        mixTwo<T>(weights, weights + stride, run, headDim, output, outputOf(args, row + 1, head));
        row++;
      } else mix<T>(weights, count, run, headDim, output, 0);
    }
  }
  for (let row = from; row < to; row++) {
    const factor = v128.load32_splat(partial + (<usize>(row - from) << 2));
    const output = outputOf(args, row, head);
    for (let i: usize = 0; i < headDim << 2; i += 16) v128.store(output + i, f32x4.mul(v128.load(output + i), factor));
  }
}

/** Sixteen weights times the scales of their positions; what lies behind the last position is not used. */
function scaleWeights(weights: usize, scales: usize): void {
  for (let i: usize = 0; i < 64; i += 16) v128.store(weights + i, f32x4.mul(v128.load(weights + i), v128.load(scales + i)));
}

/** Four numbers of type T as float32. */
// @ts-ignore: decorator
@inline
function four<T>(at: usize): v128 {
  return isInteger<T>() ? f32x4.convert_i32x4_s(v128.load16x4_s(at)) : v128.load(at);
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
function partialScores<T>(query: usize, key: usize, headDim: usize, to: usize): void {
  let a0 = f32x4.splat(0);
  let a1 = a0;
  let b0 = a0;
  let b1 = a0;
  let c0 = a0;
  let c1 = a0;
  let d0 = a0;
  let d1 = a0;
  const bytes = headDim * sizeof<T>();
  let second = key + bytes;
  let third = second + bytes;
  let fourth = third + bytes;
  const step = 4 * sizeof<T>();
  for (const end = query + ((headDim & ~7) << 2); query < end; query += 32) {
    const q0 = v128.load(query);
    const q1 = v128.load(query, 16);
    a0 = f32x4.relaxed_madd(q0, four<T>(key), a0);
    a1 = f32x4.relaxed_madd(q1, four<T>(key + step), a1);
    b0 = f32x4.relaxed_madd(q0, four<T>(second), b0);
    b1 = f32x4.relaxed_madd(q1, four<T>(second + step), b1);
    c0 = f32x4.relaxed_madd(q0, four<T>(third), c0);
    c1 = f32x4.relaxed_madd(q1, four<T>(third + step), c1);
    d0 = f32x4.relaxed_madd(q0, four<T>(fourth), d0);
    d1 = f32x4.relaxed_madd(q1, four<T>(fourth + step), d1);
    key += 2 * step;
    second += 2 * step;
    third += 2 * step;
    fourth += 2 * step;
  }
  v128.store(to, a0);
  v128.store(to, a1, 16);
  v128.store(to, b0, 32);
  v128.store(to, b1, 48);
  v128.store(to, c0, 64);
  v128.store(to, c1, 80);
  v128.store(to, d0, 96);
  v128.store(to, d1, 112);
  if ((headDim & 7) == 0) return;
  const q = v128.load(query);
  v128.store(to, f32x4.relaxed_madd(q, four<T>(key), v128.load(to)));
  v128.store(to, f32x4.relaxed_madd(q, four<T>(second), v128.load(to, 32)), 32);
  v128.store(to, f32x4.relaxed_madd(q, four<T>(third), v128.load(to, 64)), 64);
  v128.store(to, f32x4.relaxed_madd(q, four<T>(fourth), v128.load(to, 96)), 96);
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
  for (let i: usize = 0; i < padded; i += 16) largest = f32x4.pmax(largest, v128.load(scores + i));
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

// Adds the values of some positions, weighted, to the output, from number `from` of the head on: 32 at a time, then 4.
function mix<T>(weights: usize, count: i32, values: usize, headDim: usize, output: usize, from: usize): void {
  const end = weights + (<usize>count << 2);
  const bytes = headDim * sizeof<T>();
  const step = 4 * sizeof<T>();
  let i = from;
  for (; i + 32 <= headDim; i += 32) {
    const to = output + (i << 2);
    let a0 = v128.load(to);
    let a1 = v128.load(to, 16);
    let a2 = v128.load(to, 32);
    let a3 = v128.load(to, 48);
    let a4 = v128.load(to, 64);
    let a5 = v128.load(to, 80);
    let a6 = v128.load(to, 96);
    let a7 = v128.load(to, 112);
    let value = values + i * sizeof<T>();
    for (let at = weights; at < end; at += 4) {
      const w = v128.load32_splat(at);
      a0 = f32x4.relaxed_madd(w, four<T>(value), a0);
      a1 = f32x4.relaxed_madd(w, four<T>(value + step), a1);
      a2 = f32x4.relaxed_madd(w, four<T>(value + 2 * step), a2);
      a3 = f32x4.relaxed_madd(w, four<T>(value + 3 * step), a3);
      a4 = f32x4.relaxed_madd(w, four<T>(value + 4 * step), a4);
      a5 = f32x4.relaxed_madd(w, four<T>(value + 5 * step), a5);
      a6 = f32x4.relaxed_madd(w, four<T>(value + 6 * step), a6);
      a7 = f32x4.relaxed_madd(w, four<T>(value + 7 * step), a7);
      value += bytes;
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
  for (; i < headDim; i += 4) {
    const to = output + (i << 2);
    let a = v128.load(to);
    let value = values + i * sizeof<T>();
    for (let at = weights; at < end; at += 4) {
      a = f32x4.relaxed_madd(v128.load32_splat(at), four<T>(value), a);
      value += bytes;
    }
    v128.store(to, a);
  }
}

// The same for two rows and 16 positions.
function mixTwo<T>(weights: usize, others: usize, values: usize, headDim: usize, output: usize, other: usize): void {
  const bytes = headDim * sizeof<T>();
  const step = 4 * sizeof<T>();
  let i: usize = 0;
  for (; i + 32 <= headDim; i += 32) {
    const first = output + (i << 2);
    const second = other + (i << 2);
    let a0 = v128.load(first);
    let a1 = v128.load(first, 16);
    let a2 = v128.load(first, 32);
    let a3 = v128.load(first, 48);
    let a4 = v128.load(first, 64);
    let a5 = v128.load(first, 80);
    let a6 = v128.load(first, 96);
    let a7 = v128.load(first, 112);
    let b0 = v128.load(second);
    let b1 = v128.load(second, 16);
    let b2 = v128.load(second, 32);
    let b3 = v128.load(second, 48);
    let b4 = v128.load(second, 64);
    let b5 = v128.load(second, 80);
    let b6 = v128.load(second, 96);
    let b7 = v128.load(second, 112);
    let value = values + i * sizeof<T>();
    for (let at: usize = 0; at < BLOCK << 2; at += 4) {
      const w = v128.load32_splat(weights + at);
      const u = v128.load32_splat(others + at);
      let x = four<T>(value);
      let y = four<T>(value + 1 * step);
      a0 = f32x4.relaxed_madd(w, x, a0);
      a1 = f32x4.relaxed_madd(w, y, a1);
      b0 = f32x4.relaxed_madd(u, x, b0);
      b1 = f32x4.relaxed_madd(u, y, b1);
      x = four<T>(value + 2 * step);
      y = four<T>(value + 3 * step);
      a2 = f32x4.relaxed_madd(w, x, a2);
      a3 = f32x4.relaxed_madd(w, y, a3);
      b2 = f32x4.relaxed_madd(u, x, b2);
      b3 = f32x4.relaxed_madd(u, y, b3);
      x = four<T>(value + 4 * step);
      y = four<T>(value + 5 * step);
      a4 = f32x4.relaxed_madd(w, x, a4);
      a5 = f32x4.relaxed_madd(w, y, a5);
      b4 = f32x4.relaxed_madd(u, x, b4);
      b5 = f32x4.relaxed_madd(u, y, b5);
      x = four<T>(value + 6 * step);
      y = four<T>(value + 7 * step);
      a6 = f32x4.relaxed_madd(w, x, a6);
      a7 = f32x4.relaxed_madd(w, y, a7);
      b6 = f32x4.relaxed_madd(u, x, b6);
      b7 = f32x4.relaxed_madd(u, y, b7);
      value += bytes;
    }
    v128.store(first, a0);
    v128.store(first, a1, 16);
    v128.store(first, a2, 32);
    v128.store(first, a3, 48);
    v128.store(first, a4, 64);
    v128.store(first, a5, 80);
    v128.store(first, a6, 96);
    v128.store(first, a7, 112);
    v128.store(second, b0);
    v128.store(second, b1, 16);
    v128.store(second, b2, 32);
    v128.store(second, b3, 48);
    v128.store(second, b4, 64);
    v128.store(second, b5, 80);
    v128.store(second, b6, 96);
    v128.store(second, b7, 112);
  }
  if (i == headDim) return;
  mix<T>(weights, <i32>BLOCK, values, headDim, output, i);
  mix<T>(others, <i32>BLOCK, values, headDim, other, i);
}
