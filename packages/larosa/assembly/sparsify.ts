// Exact Top-K without sorting. The bits of |x| order like integers, so the K-th largest is found digit by digit (11, 11 and 9 bits)
// from histograms; every digit after the first looks only at what shares the digits before.

// @ts-ignore: decorator
@inline
function ptr(args: usize, word: usize): usize {
  return <usize>load<u32>(args + (word << 2));
}

// @ts-ignore: decorator
@inline
function magnitude(from: usize, i: usize): u32 {
  return load<u32>(from + (i << 2)) & 0x7fffffff;
}

const BINS: usize = 2048;

// words: rows*, input, inputStride, width, keep, output, outputStride, histograms (8 KiB per thread)
// output: int32 count, then that many ascending indices. Of equals at the border the first are kept.
export function sparsify(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const histogram = ptr(args, 7) + <usize>thread * (BINS << 2);
  for (let row = thread; row < rows; row += threads) {
    select(ptr(args, 1) + <usize>row * ptr(args, 2), ptr(args, 3), ptr(args, 4), ptr(args, 5) + <usize>row * ptr(args, 6), histogram);
  }
}

function select(from: usize, width: usize, keep: usize, to: usize, histogram: usize): void {
  let rest = <u32>keep;
  let prefix: u32 = 0;
  rest = digit(from, width, 0, 0, 20, rest, histogram);
  prefix = load<u32>(histogram) << 20;
  rest = digit(from, width, 0xfff00000, prefix, 9, rest, histogram);
  prefix |= load<u32>(histogram) << 9;
  rest = digit(from, width, 0xfffffe00, prefix, 0, rest, histogram);
  const border = prefix | load<u32>(histogram);
  let at = to + 4;
  for (let i: usize = 0; i < width; i++) {
    const m = magnitude(from, i);
    const tie = <u32>(m == border) & <u32>(rest > 0);
    store<u32>(at, <u32>i);
    at += <usize>(<u32>(m > border) | tie) << 2;
    rest -= tie;
  }
  store<i32>(to, <i32>keep);
}

/**
 * The digit at `shift` of the rest-th largest number among those that agree with `prefix` under `mask`; left in the histogram's
 * first word. Returns how many of those that also share this digit are still to be kept.
 */
function digit(from: usize, width: usize, mask: u32, prefix: u32, shift: u32, rest: u32, histogram: usize): u32 {
  memory.fill(histogram, 0, BINS << 2);
  for (let i: usize = 0; i < width; i++) {
    const m = magnitude(from, i);
    if ((m & mask) != prefix) continue;
    const bin = histogram + (<usize>((m >> shift) & (<u32>BINS - 1)) << 2);
    store<u32>(bin, load<u32>(bin) + 1);
  }
  let bin = <u32>BINS - 1;
  for (; bin > 0; bin--) {
    const count = load<u32>(histogram + (<usize>bin << 2));
    if (count >= rest) break;
    rest -= count;
  }
  store<u32>(histogram, bin);
  return rest;
}
