import { int, ptr } from './args';

// The table holds cos and sin of each pair: float32 [context, pairs, 2]. `reach` is how far apart (in floats) the two numbers
// of a pair lie, `step` how far apart the pairs lie.
// words: rows*, positions*, table, pairs, reach, step, headDim, width, input, inputStride, output, outputStride
export function rope(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const positions = ptr(args, 1);
  const pairs = int(args, 3);
  const reach = <usize>int(args, 4) << 2;
  const step = <usize>int(args, 5) << 2;
  const headBytes = <usize>int(args, 6) << 2;
  const bytes = <usize>int(args, 7) << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 8) + <usize>row * <usize>int(args, 9);
    const to = ptr(args, 10) + <usize>row * <usize>int(args, 11);
    const table = ptr(args, 2) + <usize>load<i32>(positions + (<usize>row << 2)) * <usize>(pairs << 3);
    memory.copy(to, from, bytes);
    for (let head: usize = 0; head < bytes; head += headBytes) {
      let at = head;
      for (let pair = 0; pair < pairs; pair++) {
        const cos = load<f32>(table + (<usize>pair << 3));
        const sin = load<f32>(table + (<usize>pair << 3), 4);
        const x = load<f32>(from + at);
        const y = load<f32>(from + at + reach);
        store<f32>(to + at, x * cos - y * sin);
        store<f32>(to + at + reach, x * sin + y * cos);
        at += step;
      }
    }
  }
}
