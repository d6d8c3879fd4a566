import { int, ptr } from './args';

// The layout of headInt8: int8 [vocabulary / 16, groups, 16 pairs, 16, 2], float32 scales [vocabulary / 16, groups, 16].
// words: rows*, tokens*, weight, scales, groups, width, output, outputStride
export function embedInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const tokens = ptr(args, 1);
  const groups = ptr(args, 4);
  const width = int(args, 5);
  const stride = <usize>int(args, 7);
  for (let row = thread; row < rows; row += threads) {
    const token = <usize>load<i32>(tokens + (<usize>row << 2));
    const from = ptr(args, 2) + (token >> 4) * (groups << 9) + ((token & 15) << 1);
    const scales = ptr(args, 3) + (token >> 4) * (groups << 6) + ((token & 15) << 2);
    const to = ptr(args, 6) + <usize>row * stride;
    for (let i: usize = 0; i < <usize>width; i++) {
      const weight = <f32>load<i8>(from + ((i >> 1) << 5) + (i & 1));
      store<f32>(to + (i << 2), weight * load<f32>(scales + ((i >> 5) << 6)));
    }
  }
}

// words: rows*, tokens*, weight [vocabulary, width] float32, width, output, outputStride
export function embedFloat32(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const tokens = ptr(args, 1);
  const weight = ptr(args, 2);
  const bytes = <usize>int(args, 3) << 2;
  const output = ptr(args, 4);
  const stride = <usize>int(args, 5);
  for (let row = thread; row < rows; row += threads) {
    const token = <usize>load<i32>(tokens + (<usize>row << 2));
    memory.copy(output + <usize>row * stride, weight + token * bytes, bytes);
  }
}
