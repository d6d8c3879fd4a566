// @ts-ignore: decorator
@inline
export function magnitude(from: usize, i: usize): i32 {
  return load<i32>(from + (i << 2)) & 0x7fffffff;
}

/** 4 magnitudes at an address. */
// @ts-ignore: decorator
@inline
export function magnitudes(at: usize): v128 {
  return v128.and(v128.load(at), i32x4.splat(0x7fffffff));
}

export function largest(from: usize, width: usize): i32 {
  let most = i32x4.splat(0);
  const vectors = width & ~3;
  for (let i: usize = 0; i < vectors; i += 4) most = i32x4.max_s(most, magnitudes(from + (i << 2)));
  let one = max<i32>(
    max<i32>(i32x4.extract_lane(most, 0), i32x4.extract_lane(most, 1)),
    max<i32>(i32x4.extract_lane(most, 2), i32x4.extract_lane(most, 3)),
  );
  for (let i = vectors; i < width; i++) one = max<i32>(one, magnitude(from, i));
  return one;
}

/** How many magnitudes are at least `border`. `sums`: room for 32 bytes. */
export function reaching(from: usize, width: usize, border: i32, sums: usize): i32 {
  // Greater is one instruction, at least is two.
  const below = i32x4.splat(border - 1);
  let a = i32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  let at = from;
  for (const end = from + ((width & ~15) << 2); at < end; at += 64) {
    a = i32x4.sub(a, i32x4.gt_s(magnitudes(at), below));
    b = i32x4.sub(b, i32x4.gt_s(magnitudes(at + 16), below));
    c = i32x4.sub(c, i32x4.gt_s(magnitudes(at + 32), below));
    d = i32x4.sub(d, i32x4.gt_s(magnitudes(at + 48), below));
  }
  // Neighbouring stores let the compiler take two vectors at once.
  v128.store(sums, i32x4.add(a, c));
  v128.store(sums, i32x4.add(b, d), 16);
  a = i32x4.add(v128.load(sums), v128.load(sums, 16));
  let count = i32x4.extract_lane(a, 0) + i32x4.extract_lane(a, 1) + i32x4.extract_lane(a, 2) + i32x4.extract_lane(a, 3);
  for (let i = width & ~15; i < width; i++) count += <i32>(magnitude(from, i) >= border);
  return count;
}
