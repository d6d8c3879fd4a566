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

// With many rows, units of work are dealt out as threads ask for them, so that a thread whose core is slower does less. A call takes its
// units from one of two counters and sets the other to 0, for the next call: all threads have met at a barrier before each. With few
// rows, whose time is that of memory, each thread takes one run of units: memory streams best so.
export const DEALT_ROWS: i32 = 16;

/** The counter to take units from; 0 for runs. */
// @ts-ignore: decorator
@inline
export function dealer(counter: usize, next: usize, rows: i32): usize {
  if (next) atomic.store<i32>(next, 0);
  return rows >= DEALT_ROWS ? counter : 0;
}

/** The first unit of a thread; `units` when there is none for it. */
// @ts-ignore: decorator
@inline
export function firstUnit(counter: usize, units: i32, thread: i32, threads: i32): i32 {
  if (counter) return atomic.add<i32>(counter, 1);
  const first = (units * thread) / threads;
  return first < (units * (thread + 1)) / threads ? first : units;
}

/** The unit behind `unit`; `units` when there is none left. */
// @ts-ignore: decorator
@inline
export function nextUnit(counter: usize, unit: i32, units: i32, thread: i32, threads: i32): i32 {
  if (counter) return atomic.add<i32>(counter, 1);
  return unit + 1 < (units * (thread + 1)) / threads ? unit + 1 : units;
}
