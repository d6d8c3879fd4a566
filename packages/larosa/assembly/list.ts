import { magnitude, magnitudes } from './magnitude';

const FILLED: usize = 256;

/**
 * 16 shuffles of 16 bytes, and a flag: number n brings those of four 32-bit lanes to the front whose bits are set in n. Made by who comes
 * first; a module has no data of its own.
 */
export function fillShuffles(to: usize): void {
  if (atomic.load<i32>(to, FILLED)) return;
  for (let bits = 0; bits < 16; bits++) {
    let at = to + (<usize>bits << 4);
    for (let lane = 0; lane < 4; lane++) {
      if (!((bits >> lane) & 1)) continue;
      store<u32>(at, 0x03020100 + 0x04040404 * lane);
      at += 4;
    }
  }
  atomic.store<i32>(to, 1, FILLED);
}

/** Lists the magnitudes that reach `border`, and returns the end of the list. */
export function listed(from: usize, width: usize, border: i32, to: usize, shuffles: usize): usize {
  const below = i32x4.splat(border - 1);
  let four = i32x4(0, 1, 2, 3);
  // Relaxed: for indices below 16 all processors agree, and it is one instruction less.
  // Four are written where fewer count: never more in all than have been looked at.
  for (const end = from + ((width & ~3) << 2); from < end; from += 16) {
    const bits = <usize>i32x4.bitmask(i32x4.gt_s(magnitudes(from), below));
    v128.store(to, i8x16.relaxed_swizzle(four, v128.load(shuffles + (bits << 4))));
    to += popcnt<usize>(bits) << 2;
    four = i32x4.add(four, i32x4.splat(4));
  }
  for (let i: usize = 0; i < (width & 3); i++) {
    store<u32>(to, <u32>((width & ~3) + i));
    to += <usize>(magnitude(from, i) >= border) << 2;
  }
  return to;
}

/** The same, and the first `rest` of those right below the border. */
export function withTies(from: usize, width: usize, border: i32, rest: i32, to: usize): usize {
  for (let i: usize = 0; i < width; i++) {
    const m = magnitude(from, i);
    const tied = <i32>(m == border - 1) & <i32>(rest > 0);
    store<u32>(to, <u32>i);
    to += <usize>(<i32>(m >= border) | tied) << 2;
    rest -= tied;
  }
  return to;
}
