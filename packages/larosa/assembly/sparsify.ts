// Exact Top-K without sorting. The bits of |x| order like integers, so the border between kept and dropped is found by halving the
// range of bits and counting how many numbers reach the middle.

// @ts-ignore: decorator
@inline
function ptr(args: usize, word: usize): usize {
  return <usize>load<u32>(args + (word << 2));
}

// @ts-ignore: decorator
@inline
function magnitude(from: usize, i: usize): i32 {
  return load<i32>(from + (i << 2)) & 0x7fffffff;
}

// words: rows*, input, inputStride, width, keep (0: as many as reach the threshold, at least one), threshold (its bits), output, outputStride,
//        prompt (0: none; int32 per row, 1: all channels are kept), norms (0: all 1), scores (room for a row per thread), scoresStride
// output: int32 count, then that many ascending indices. Of equals at the border the first are kept.
export function sparsify(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  for (let row = thread; row < rows; row += threads) {
    const width = ptr(args, 3);
    const to = ptr(args, 6) + <usize>row * ptr(args, 7);
    const prompt = ptr(args, 8);
    if (prompt && load<i32>(prompt + (<usize>row << 2))) {
      all(width, to);
      continue;
    }
    let from = ptr(args, 1) + <usize>row * ptr(args, 2);
    const norms = ptr(args, 9);
    if (norms) {
      const scores = ptr(args, 10) + <usize>thread * ptr(args, 11);
      weigh(from, norms, width, scores);
      from = scores;
    }
    const keep = <i32>ptr(args, 4);
    if (keep) select(from, width, keep, to);
    else reach(from, width, <i32>ptr(args, 5), to);
  }
}

// Rows have room for whole vectors.
function weigh(from: usize, norms: usize, width: usize, to: usize): void {
  const mask = i32x4.splat(0x7fffffff);
  const bytes = width << 2;
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(to + at, f32x4.mul(v128.and(v128.load(from + at), mask), v128.load(norms + at)));
  }
}

function reach(from: usize, width: usize, border: i32, to: usize): void {
  let last = listed(from, width, border, to + 4);
  if (last == to + 4) last = withTies(from, width, largest(from, width) + 1, 1, to + 4);
  store<u32>(to, <u32>((last - to - 4) >> 2));
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

function select(from: usize, width: usize, keep: i32, to: usize): void {
  // `above` numbers, at least `keep`, reach `low`; `reached`, fewer, reach `high`.
  let low = 0;
  let above = <i32>width;
  let high = largest(from, width) + 1;
  let reached = 0;
  // Most borders lie within a factor of 16 of the largest number.
  let middle = max<i32>(high - (4 << 23), high >> 1);
  // All numbers that reach `border` are kept, and `rest` of those right below it.
  let border = 0;
  let rest = 0;
  for (let turn = 0; ; turn++) {
    if (high - low == 1) {
      border = high;
      rest = keep - reached;
      break;
    }
    const count = reaching(from, width, middle);
    if (count == keep) {
      border = middle;
      break;
    }
    if (count > keep) {
      low = middle;
      above = count;
    } else {
      high = middle;
      reached = count;
    }
    // Where a straight line through both counts has `keep`; every fourth time the middle, so that it ends soon in any case.
    const share = (turn & 3) == 3 ? <f32>0.5 : <f32>(above - keep) / <f32>(above - reached);
    middle = min<i32>(max<i32>(low + <i32>(share * <f32>(high - low)), low + 1), high - 1);
  }
  const last = rest > 0 ? withTies(from, width, border, rest, to + 4) : listed(from, width, border, to + 4);
  store<u32>(to, <u32>((last - to - 4) >> 2));
}

function listed(from: usize, width: usize, border: i32, to: usize): usize {
  for (let i: usize = 0; i < width; i++) {
    store<u32>(to, <u32>i);
    to += <usize>(magnitude(from, i) >= border) << 2;
  }
  return to;
}

function withTies(from: usize, width: usize, border: i32, rest: i32, to: usize): usize {
  for (let i: usize = 0; i < width; i++) {
    const m = magnitude(from, i);
    const tied = <i32>(m == border - 1) & <i32>(rest > 0);
    store<u32>(to, <u32>i);
    to += <usize>(<i32>(m >= border) | tied) << 2;
    rest -= tied;
  }
  return to;
}

function largest(from: usize, width: usize): i32 {
  const mask = i32x4.splat(0x7fffffff);
  let most = i32x4.splat(0);
  const vectors = width & ~3;
  for (let i: usize = 0; i < vectors; i += 4) most = i32x4.max_s(most, v128.and(v128.load(from + (i << 2)), mask));
  let one = max<i32>(
    max<i32>(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)),
    max<i32>(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)),
  );
  for (let i = vectors; i < width; i++) one = max<i32>(one, magnitude(from, i));
  return one;
}

/** How many magnitudes are at least `border`. */
function reaching(from: usize, width: usize, border: i32): i32 {
  const mask = i32x4.splat(0x7fffffff);
  const borders = i32x4.splat(border);
  let a = i32x4.splat(0);
  let b = a;
  const end = from + ((width & ~7) << 2);
  let at = from;
  for (; at < end; at += 32) {
    a = i32x4.sub(a, i32x4.ge_s(v128.and(v128.load(at), mask), borders));
    b = i32x4.sub(b, i32x4.ge_s(v128.and(v128.load(at, 16), mask), borders));
  }
  a = i32x4.add(a, b);
  let count = i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3);
  for (let i = width & ~7; i < width; i++) count += <i32>(magnitude(from, i) >= border);
  return count;
}
