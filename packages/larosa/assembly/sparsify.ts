import { fillShuffles, listed, withTies } from './list';
import { largest, reaching } from './magnitude';

// The channels of a row that stay alive: those of the largest scores, or those whose score reaches a threshold. Scores are magnitudes,
// weighted or not. Their bits order like integers.

// @ts-ignore: decorator
@inline
function ptr(args: usize, word: usize): usize {
  return <usize>load<u32>(args + (word << 2));
}

// words: rows*, input, inputStride, width, keep (0: as many as reach the threshold, at least one), threshold (its bits), output, outputStride,
//        prompt (0: none; int32 per row, 1: all channels are kept), norms (0: all 1), scores (room for a row per thread), scoresStride,
//        shuffles (of all ops), hint (of this op, 8 bytes)
// output: int32 count, then that many ascending indices. Of equals at the border the first are kept.
export function sparsify(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const width = ptr(args, 3);
  const keep = <i32>ptr(args, 4);
  const prompt = ptr(args, 8);
  const norms = ptr(args, 9);
  const shuffles = ptr(args, 12);
  fillShuffles(shuffles);
  for (let row = thread; row < rows; row += threads) {
    const to = ptr(args, 6) + <usize>row * ptr(args, 7);
    if (prompt && load<i32>(prompt + (<usize>row << 2))) {
      all(width, to);
      continue;
    }
    let from = ptr(args, 1) + <usize>row * ptr(args, 2);
    if (norms) {
      const scores = ptr(args, 10) + <usize>thread * ptr(args, 11);
      weigh(from, norms, width, scores);
      from = scores;
    }
    const last = keep
      ? select(from, width, keep, ptr(args, 13), to + 4, shuffles)
      : reach(from, width, <i32>ptr(args, 5), to + 4, shuffles);
    store<u32>(to, <u32>((last - to - 4) >> 2));
  }
}

function all(width: usize, to: usize): void {
  store<u32>(to, <u32>width);
  let four = i32x4(0, 1, 2, 3);
  const end = to + 4 + ((width & ~3) << 2);
  for (to += 4; to < end; to += 16) {
    v128.store(to, four);
    four = i32x4.add(four, i32x4.splat(4));
  }
  for (let i = width & ~3; i < width; i++, to += 4) store<u32>(to, <u32>i);
}

// Rows have room for whole vectors.
function weigh(from: usize, norms: usize, width: usize, to: usize): void {
  const mask = i32x4.splat(0x7fffffff);
  const bytes = width << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(to + at, f32x4.mul(v128.and(v128.load(from + at), mask), v128.load(norms + at)));
  }
}

function reach(from: usize, width: usize, border: i32, to: usize, shuffles: usize): usize {
  const last = listed(from, width, border, to, shuffles);
  return last == to ? withTies(from, width, largest(from, width) + 1, 1, to) : last;
}

// Exact Top-K without sorting: the border between kept and dropped is searched, each try counts how many magnitudes reach it. The
// hint is where the border of an earlier row was, and how far apart in bits two neighbours there were: it only makes the search short, what
// is found does not depend on it. So threads may share it.
function select(from: usize, width: usize, keep: i32, hint: usize, to: usize, shuffles: usize): usize {
  // `above` magnitudes, at least `keep`, reach `low`; `reached`, fewer, reach `high`.
  let low = 0;
  let above = <i32>width;
  let high = i32.MAX_VALUE;
  let reached = 0;
  let middle = load<i32>(hint);
  let apart = load<i32>(hint, 4);
  if (middle <= 0 || apart <= 0) {
    // Most borders lie within a factor of 16 of the largest number.
    high = largest(from, width) + 1;
    middle = max<i32>(high - (4 << 23), high >> 1);
    apart = (4 << 23) / <i32>width + 1;
  }
  let before = 0;
  let beforeCount = 0;
  for (let turn = 0; high - low > 1; turn++) {
    const count = reaching(from, width, middle, to);
    if (turn == 1 && count != beforeCount) apart = abs<i32>((middle - before) / (count - beforeCount)) + 1;
    if (count == keep) {
      store<i32>(hint, middle);
      store<i32>(hint, apart, 4);
      return listed(from, width, middle, to, shuffles);
    }
    before = middle;
    beforeCount = count;
    if (count > keep) {
      low = middle;
      above = count;
    } else {
      high = middle;
      reached = count;
    }
    let next: i64;
    // Until there are tries on both sides, in growing steps; then where a straight line through both counts has `keep`; every fourth
    // time the middle, so that it ends soon in any case.
    if (low == 0 || high == i32.MAX_VALUE) next = <i64>middle + <i64>(count - keep) * ((<i64>apart) << min<i32>(turn, 31));
    else {
      const share = (turn & 3) == 3 ? <f32>0.5 : <f32>(above - keep) / <f32>(above - reached);
      next = <i64>low + <i64>(share * <f32>(high - low));
    }
    middle = <i32>min<i64>(max<i64>(next, low + 1), high - 1);
  }
  // All that reach `high` are kept, and some of those right below it.
  return withTies(from, width, high, keep - reached, to);
}
