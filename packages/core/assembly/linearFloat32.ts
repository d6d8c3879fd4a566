import { int, ptr, sumLanes } from './args';

// Channel-major float32 weights: one record per input channel, its outputs padded to 16. Each output adds its channels in ascending
// order, in one thread: the bits depend neither on threads nor on rows, and skipping a channel equals multiplying it by 0.

// Dead channels to 0. words: rows*, input, inputStride, lists, listStride, output, outputStride, width
export function maskChannels(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  for (let row = thread; row < rows; row += threads) {
    const from = ptr(args, 1) + <usize>row * ptr(args, 2);
    const list = ptr(args, 3) + <usize>row * ptr(args, 4);
    const to = ptr(args, 5) + <usize>row * ptr(args, 6);
    memory.fill(to, 0, ptr(args, 7) << 2);
    for (let i = 1; i <= load<i32>(list); i++) {
      const channel = <usize>load<u32>(list + (<usize>i << 2)) << 2;
      store<f32>(to + channel, load<f32>(from + channel));
    }
  }
}

// words: rows*, input, inputStride, lists (0: dense), weight, recordBytes, channels, outputs (padded to 16), bias (0: none), output, outputStride
export function linearFloat32(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const tiles = int(args, 7) >> 4;
  const share = (tiles + threads - 1) / threads;
  const from = min<i32>(thread * share, tiles);
  const to = min<i32>((thread + 1) * share, tiles);
  if (rows == 1 && ptr(args, 3) != 0) oneRowListed(args, <usize>from << 6, <usize>to << 6);
  else {
    for (let tile = from; tile < to; tile++) {
      for (let row = 0; row < rows; row++) oneTile(args, row, <usize>tile << 6);
    }
  }
}

// 16 outputs of one row, over all channels.
function oneTile(args: usize, row: i32, at: usize): void {
  const x = ptr(args, 1) + <usize>row * ptr(args, 2);
  const recordBytes = ptr(args, 5);
  let weight = ptr(args, 4) + at;
  let a = f32x4.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (let end = x + (ptr(args, 6) << 2), i = x; i < end; i += 4) {
    const v = v128.load32_splat(i);
    a = f32x4.add(a, f32x4.mul(v, v128.load(weight)));
    b = f32x4.add(b, f32x4.mul(v, v128.load(weight, 16)));
    c = f32x4.add(c, f32x4.mul(v, v128.load(weight, 32)));
    d = f32x4.add(d, f32x4.mul(v, v128.load(weight, 48)));
    weight += recordBytes;
  }
  const bias = ptr(args, 8);
  if (bias) {
    a = f32x4.add(a, v128.load(bias + at));
    b = f32x4.add(b, v128.load(bias + at, 16));
    c = f32x4.add(c, v128.load(bias + at, 32));
    d = f32x4.add(d, v128.load(bias + at, 48));
  }
  const output = ptr(args, 9) + <usize>row * ptr(args, 10) + at;
  v128.store(output, a);
  v128.store(output, b, 16);
  v128.store(output, c, 32);
  v128.store(output, d, 48);
}

// A range of the outputs of the only row, over the listed channels.
function oneRowListed(args: usize, from: usize, to: usize): void {
  const x = ptr(args, 1);
  const list = ptr(args, 3);
  const count = load<i32>(list);
  const bias = ptr(args, 8);
  const output = ptr(args, 9);
  for (let j = from; j < to; j += 16) v128.store(output + j, f32x4.splat(0));
  for (let i = 1; i <= count; i++) {
    const channel = <usize>load<u32>(list + (<usize>i << 2));
    const weight = ptr(args, 4) + channel * ptr(args, 5);
    const v = v128.load32_splat(x + (channel << 2));
    for (let j = from; j < to; j += 16) {
      v128.store(output + j, f32x4.add(v128.load(output + j), f32x4.mul(v, v128.load(weight + j))));
    }
  }
  if (!bias) return;
  for (let j = from; j < to; j += 16) v128.store(output + j, f32x4.add(v128.load(output + j), v128.load(bias + j)));
}

// Output-major float32 [outputs, width padded to 4].
// words: rows*, input, inputStride, weight, recordBytes, width, outputs, bias (0: none), output, outputStride
export function headFloat32(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const recordBytes = ptr(args, 4);
  const end = ptr(args, 5) << 2;
  const outputs = int(args, 6);
  const bias = ptr(args, 7);
  const share = (outputs + threads - 1) / threads;
  const last = min<i32>((thread + 1) * share, outputs);
  for (let out = thread * share; out < last; out++) {
    const weight = ptr(args, 3) + <usize>out * recordBytes;
    for (let row = 0; row < rows; row++) {
      const x = ptr(args, 1) + <usize>row * ptr(args, 2);
      let sums = f32x4.splat(0);
      let i: usize = 0;
      for (; i + 16 <= end; i += 16) sums = f32x4.add(sums, f32x4.mul(v128.load(x + i), v128.load(weight + i)));
      let y = sumLanes(sums);
      for (; i < end; i += 4) y += load<f32>(x + i) * load<f32>(weight + i);
      if (bias) y += load<f32>(bias + (<usize>out << 2));
      store<f32>(ptr(args, 8) + <usize>row * ptr(args, 9) + (<usize>out << 2), y);
    }
  }
}
