import { ptr } from '../args';

// The channels above 0, ascending. words: rows*, input, inputStride, width, output, outputStride
export function channelsAboveZero(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * ptr(args, 2);
    const list = ptr(args, 4) + <usize>row * ptr(args, 5);
    let count: u32 = 0;
    for (let i: u32 = 0; i < <u32>ptr(args, 3); i++) {
      if (load<f32>(from + (<usize>i << 2)) > 0) store<u32>(list + (<usize>++count << 2), i);
    }
    store<u32>(list, count);
  }
}
