import { ptr } from './args';

// Reads a range once, as fast as loads go: what the bandwidth of the memory is measured with. Threads take contiguous shares. Everything
// that was read ends up in 64 bytes per thread, so that no load can be left out.

// words: from, bytes (a multiple of 64), out (64 bytes per thread)
export function readMemory(args: usize, thread: i32, threads: i32): void {
  const lines = ptr(args, 1) >> 6;
  const from = ptr(args, 0);
  const share = lines / <usize>threads;
  const begin = from + ((<usize>thread * share) << 6);
  const end = thread + 1 == threads ? from + (lines << 6) : begin + (share << 6);
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (let at = begin; at < end; at += 64) {
    a = v128.or(a, v128.load(at));
    b = v128.or(b, v128.load(at, 16));
    c = v128.or(c, v128.load(at, 32));
    d = v128.or(d, v128.load(at, 48));
  }
  const to = ptr(args, 2) + (<usize>thread << 6);
  v128.store(to, a);
  v128.store(to, b, 16);
  v128.store(to, c, 32);
  v128.store(to, d, 48);
}

/** Reads a range, one word per line of 64 bytes, so that caches hold it. What it returns means nothing. */
export function warm(from: usize, bytes: usize): i32 {
  let touched = 0;
  for (const end = from + bytes; from < end; from += 64) touched |= load<i32>(from);
  return touched;
}
