/**
 * Takes strings as GGUF writes them, a uint64 of their bytes and then the bytes, out of `[from, end)`: at most `most`, and none that is not
 * all there. Their bytes are moved together at `bytes`, which may be `from`; `ends` gets the uint32 at which each ends, counted from `base`.
 * Returns how many were taken.
 */
export function takeStrings(from: usize, end: usize, most: i32, bytes: usize, ends: usize, base: u32): i32 {
  let taken = 0;
  let to = bytes;
  while (taken < most && from + 8 <= end) {
    const length = load<u64>(from);
    if (length > <u64>(end - from - 8)) break;
    memory.copy(to, from + 8, <usize>length);
    from += 8 + <usize>length;
    to += <usize>length;
    store<u32>(ends + (<usize>taken << 2), base + <u32>(to - bytes));
    taken++;
  }
  return taken;
}
