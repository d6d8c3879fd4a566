import { float, int, ptr, sumLanes } from './args';

// The mean first, then the mean of the squared distances from it: both in the order of the four lanes, whatever the rows and threads.
// words: rows*, input, inputStride, gain, bias, output, outputStride, width, epsilon
export function layerNorm(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const gain = ptr(args, 3);
  const bias = ptr(args, 4);
  const width = int(args, 7);
  const epsilon = float(args, 8);
  const vectors = <usize>(width & ~3) << 2;
  const end = <usize>width << 2;
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * <usize>int(args, 2);
    const to = ptr(args, 5) + <usize>row * <usize>int(args, 6);
    const mean = sumOf(from, vectors, end) / <f32>width;
    const factor: f32 = 1 / sqrt<f32>(squaresAround(mean, from, vectors, end) / <f32>width + epsilon);
    const means = f32x4.splat(mean);
    const factors = f32x4.splat(factor);
    // Two at a time, which V8 can join; strides leave room behind the width.
    for (let i: usize = 0; i < vectors; i += 32) {
      const x = f32x4.mul(f32x4.sub(v128.load(from + i), means), factors);
      const y = f32x4.mul(f32x4.sub(v128.load(from + i, 16), means), factors);
      const a = f32x4.add(f32x4.mul(x, v128.load(gain + i)), v128.load(bias + i));
      const b = f32x4.add(f32x4.mul(y, v128.load(gain + i, 16)), v128.load(bias + i, 16));
      v128.store(to + i, a);
      v128.store(to + i, b, 16);
    }
    for (let i = vectors; i < end; i += 4) {
      store<f32>(to + i, (load<f32>(from + i) - mean) * factor * load<f32>(gain + i) + load<f32>(bias + i));
    }
  }
}

function sumOf(from: usize, vectors: usize, end: usize): f32 {
  let sums = f32x4.splat(0);
  let i: usize = 0;
  for (; i < vectors; i += 16) sums = f32x4.add(sums, v128.load(from + i));
  let sum = sumLanes(sums);
  for (; i < end; i += 4) sum += load<f32>(from + i);
  return sum;
}

function squaresAround(mean: f32, from: usize, vectors: usize, end: usize): f32 {
  const means = f32x4.splat(mean);
  let sums = f32x4.splat(0);
  let i: usize = 0;
  for (; i < vectors; i += 16) {
    const x = f32x4.sub(v128.load(from + i), means);
    sums = f32x4.add(sums, f32x4.mul(x, x));
  }
  let sum = sumLanes(sums);
  for (; i < end; i += 4) {
    const x: f32 = load<f32>(from + i) - mean;
    sum += x * x;
  }
  return sum;
}
