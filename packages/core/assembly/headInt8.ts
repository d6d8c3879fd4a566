import { int, ptr } from './args';

// Output-major weights in groups of 32 inputs: int8 [outputs, groups · 32], float32 scales [outputs, groups]. Activations are int16.
// Each group's integer sum becomes float, is scaled and added in the order of the groups: one order for every row, whatever
// the number of threads and rows.
// words: rows*, quantized, quantizedStride, activationScales, weight, scales, groups, outputs, bias (0: none), output, outputStride
export function headInt8(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const groups = <usize>int(args, 6);
  const outputs = int(args, 7);
  const bias = ptr(args, 8);
  const share = (outputs + threads - 1) / threads;
  const end = min<i32>((thread + 1) * share, outputs);
  for (let out = thread * share; out < end; out++) {
    const weight = ptr(args, 4) + <usize>out * (groups << 5);
    const scales = ptr(args, 5) + <usize>out * (groups << 2);
    for (let row = 0; row < rows; row++) {
      const sum = dot(weight, scales, groups, ptr(args, 1) + <usize>row * ptr(args, 2));
      let y = sum * load<f32>(ptr(args, 3) + (<usize>row << 2));
      if (bias) y += load<f32>(bias + (<usize>out << 2));
      store<f32>(ptr(args, 9) + <usize>row * ptr(args, 10) + (<usize>out << 2), y);
    }
  }
}

function dot(weight: usize, scales: usize, groups: usize, x: usize): f32 {
  let sum = f32x4.splat(0);
  for (let group: usize = 0; group < groups; group++) {
    const w = v128.load(weight);
    const v = v128.load(weight, 16);
    const a = i32x4.add(
      i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(w), v128.load(x)),
      i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(w), v128.load(x, 16)),
    );
    const b = i32x4.add(
      i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(v), v128.load(x, 32)),
      i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(v), v128.load(x, 48)),
    );
    sum = f32x4.add(sum, f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(a, b)), v128.load32_splat(scales)));
    weight += 32;
    x += 64;
    scales += 4;
  }
  return (
    f32x4.extract_lane(sum, 0) + f32x4.extract_lane(sum, 1) + (f32x4.extract_lane(sum, 2) + f32x4.extract_lane(sum, 3))
  );
}
