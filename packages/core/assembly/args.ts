// Every kernel is (args, thread, threads): args points at 32-bit words; thread is 0 … threads-1.
// All threads run the same kernel and meet at a barrier behind it.

// @ts-ignore: decorator
@inline
export function ptr(args: usize, word: usize): usize {
  return <usize>load<u32>(args + (word << 2));
}

// @ts-ignore: decorator
@inline
export function int(args: usize, word: usize): i32 {
  return load<i32>(args + (word << 2));
}

// @ts-ignore: decorator
@inline
export function float(args: usize, word: usize): f32 {
  return load<f32>(args + (word << 2));
}

// @ts-ignore: decorator
@inline
export function sumLanes(v: v128): f32 {
  return (
    f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3))
  );
}
