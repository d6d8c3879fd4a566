import { float, int, ptr, sumLanes } from './args';

// words: rows*, input, inputStride, gain, output, outputStride, width, epsilon
export function rmsNorm(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const gain = ptr(args, 3);
  const width = int(args, 6);
  const epsilon = float(args, 7);
  const vectors = <usize>(width & ~3) << 2;
  const end = <usize>width << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * <usize>int(args, 2);
    const to = ptr(args, 4) + <usize>row * <usize>int(args, 5);
    let sums = f32x4.splat(0);
    let i: usize = 0;
    for (; i < vectors; i += 16) {
      const x = v128.load(from + i);
      sums = f32x4.add(sums, f32x4.mul(x, x));
    }
    let sum = sumLanes(sums);
    for (; i < end; i += 4) sum += load<f32>(from + i) * load<f32>(from + i);
    const factor: f32 = 1 / sqrt<f32>(sum / <f32>width + epsilon);
    const factors = f32x4.splat(factor);
    // Two at a time, which V8 can join; strides leave room behind the width.
    for (i = 0; i < vectors; i += 32) {
      const a = f32x4.mul(f32x4.mul(v128.load(from + i), factors), v128.load(gain + i));
      const b = f32x4.mul(f32x4.mul(v128.load(from + i, 16), factors), v128.load(gain + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
    for (i = vectors; i < end; i += 4) store<f32>(to + i, load<f32>(from + i) * factor * load<f32>(gain + i));
  }
}
