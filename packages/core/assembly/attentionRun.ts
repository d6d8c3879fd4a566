import { sumLanes } from './args';
import { exp4 } from './exp';
import { BLOCK } from './kv';

// What attention does with one run of 16 keys or values, see kv.ts.

/** Sixteen weights times the scales of their positions; what lies behind the last position is not used. */
export function scaleWeights(weights: usize, scales: usize): void {
  for (let i: usize = 0; i < 64; i += 16) v128.store(weights + i, f32x4.mul(v128.load(weights + i), v128.load(scales + i)));
}

/** Four numbers of type T as float32. */
// @ts-ignore: decorator
@inline
function four<T>(at: usize): v128 {
  return isInteger<T>() ? f32x4.convert_i32x4_s(v128.load16x4_s(at)) : v128.load(at);
}

// Products of a query with the keys of 4 positions, each as 8 partial sums. Positions behind the last are computed and dropped.
export function partialScores<T>(query: usize, key: usize, headDim: usize, to: usize): void {
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

// The same for two queries; the sums of the second lie 128 bytes behind those of the first.
export function partialScoresTwo<T>(query: usize, other: usize, key: usize, headDim: usize, to: usize): void {
  if ((headDim & 7) != 0) {
    partialScores<T>(query, key, headDim, to);
    partialScores<T>(other, key, headDim, to + 128);
    return;
  }
  let p0 = f32x4.splat(0);
  let p1 = p0;
  let p2 = p0;
  let p3 = p0;
  let p4 = p0;
  let p5 = p0;
  let p6 = p0;
  let p7 = p0;
  let q0 = p0;
  let q1 = p0;
  let q2 = p0;
  let q3 = p0;
  let q4 = p0;
  let q5 = p0;
  let q6 = p0;
  let q7 = p0;
  const bytes = headDim * sizeof<T>();
  let second = key + bytes;
  let third = second + bytes;
  let fourth = third + bytes;
  const step = 4 * sizeof<T>();
  for (const end = query + (headDim << 2); query < end; query += 32) {
    const x0 = v128.load(query);
    const x1 = v128.load(query, 16);
    const y0 = v128.load(other);
    const y1 = v128.load(other, 16);
    let k0 = four<T>(key);
    let k1 = four<T>(key + step);
    p0 = f32x4.relaxed_madd(x0, k0, p0);
    p1 = f32x4.relaxed_madd(x1, k1, p1);
    q0 = f32x4.relaxed_madd(y0, k0, q0);
    q1 = f32x4.relaxed_madd(y1, k1, q1);
    k0 = four<T>(second);
    k1 = four<T>(second + step);
    p2 = f32x4.relaxed_madd(x0, k0, p2);
    p3 = f32x4.relaxed_madd(x1, k1, p3);
    q2 = f32x4.relaxed_madd(y0, k0, q2);
    q3 = f32x4.relaxed_madd(y1, k1, q3);
    k0 = four<T>(third);
    k1 = four<T>(third + step);
    p4 = f32x4.relaxed_madd(x0, k0, p4);
    p5 = f32x4.relaxed_madd(x1, k1, p5);
    q4 = f32x4.relaxed_madd(y0, k0, q4);
    q5 = f32x4.relaxed_madd(y1, k1, q5);
    k0 = four<T>(fourth);
    k1 = four<T>(fourth + step);
    p6 = f32x4.relaxed_madd(x0, k0, p6);
    p7 = f32x4.relaxed_madd(x1, k1, p7);
    q6 = f32x4.relaxed_madd(y0, k0, q6);
    q7 = f32x4.relaxed_madd(y1, k1, q7);
    other += 32;
    key += 2 * step;
    second += 2 * step;
    third += 2 * step;
    fourth += 2 * step;
  }
  v128.store(to, p0);
  v128.store(to, p1, 16);
  v128.store(to, p2, 32);
  v128.store(to, p3, 48);
  v128.store(to, p4, 64);
  v128.store(to, p5, 80);
  v128.store(to, p6, 96);
  v128.store(to, p7, 112);
  v128.store(to, q0, 128);
  v128.store(to, q1, 144);
  v128.store(to, q2, 160);
  v128.store(to, q3, 176);
  v128.store(to, q4, 192);
  v128.store(to, q5, 208);
  v128.store(to, q6, 224);
  v128.store(to, q7, 240);
}

/** The sums of four times 8 numbers. */
// @ts-ignore: decorator
@inline
export function sumEach(from: usize): v128 {
  const a = f32x4.add(v128.load(from), v128.load(from, 16));
  const b = f32x4.add(v128.load(from, 32), v128.load(from, 48));
  const c = f32x4.add(v128.load(from, 64), v128.load(from, 80));
  const d = f32x4.add(v128.load(from, 96), v128.load(from, 112));
  const ab = f32x4.add(i32x4.shuffle(a, b, 0, 4, 1, 5), i32x4.shuffle(a, b, 2, 6, 3, 7));
  const cd = f32x4.add(i32x4.shuffle(c, d, 0, 4, 1, 5), i32x4.shuffle(c, d, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(ab, cd, 0, 1, 4, 5), i32x4.shuffle(ab, cd, 2, 3, 6, 7));
}

/** scores := e^(score - largest). `to`: largest, and the sum of the new scores. */
export function softmaxUnscaled(scores: usize, count: i32, to: usize): void {
  const end = <usize>count << 2;
  const padded = (end + 31) & ~31;
  // -Infinity behind the last adds nothing.
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
  store<f32>(to, most);
  store<f32>(to, sumLanes(sums), 4);
}

// Adds the values of some positions, weighted, to the output, from number `from` of the head on: 32 at a time, then 4.
export function mix<T>(weights: usize, count: i32, values: usize, headDim: usize, output: usize, from: usize): void {
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
export function mixTwo<T>(weights: usize, others: usize, values: usize, headDim: usize, output: usize, other: usize): void {
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
