import { int, ptr } from './args';

// Output-major rows in groups of 32: int8 [vocabulary, groups · 32], float32 scales [vocabulary, groups].
// words: rows*, tokens*, weight, scales, groups, width, output, outputStride
export function embedInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const tokens = ptr(args, 1);
  const weight = ptr(args, 2);
  const scales = ptr(args, 3);
  const groups = int(args, 4);
  const width = int(args, 5);
  const output = ptr(args, 6);
  const stride = <usize>int(args, 7);
  for (let row = thread; row < rows; row += threads) {
    const token = <usize>load<i32>(tokens + (<usize>row << 2));
    const from = weight + token * <usize>(groups << 5);
    const scale = scales + token * <usize>(groups << 2);
    const to = output + <usize>row * stride;
    for (let i = 0; i < width; i++) {
      store<f32>(to + (<usize>i << 2), <f32>load<i8>(from + <usize>i) * load<f32>(scale + (<usize>(i >> 5) << 2)));
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
